#include "model_fixture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "core/plugin/plugin_host.h"
#include "core/policy/version.h"

namespace volery::testing {
namespace {

template <class T>
T Value(StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(Message(result.status()));
  return std::move(result).value();
}

TinyModel Build(native::ModelFamily& family, const std::string& config, at::ScalarType dtype,
                const std::map<std::string, std::string>& options = {}) {
  TinyModel out;
  out.linears = nn::MakeLinearFactory();
  out.model = family.Build(config, {.dtype = dtype, .linears = out.linears.get(), .options = options});
  return out;
}

void Bind(TinyModel& tiny) {
  for (auto& [name, tensor] : tiny.parameters) tensor.set_requires_grad(true);
  tiny.model->Bind(tiny.parameters);
}

}  // namespace

std::vector<FamilyCase> InstalledFamilies() {
  static const std::vector<FamilyCase> all = [] {
    const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
    std::vector<FamilyCase> out;
    for (const std::string& file : host.ModelFiles()) {
      const auto loaded = host.LoadModel(file);
      if (!loaded.ok()) {
        std::fprintf(stderr, "%s\n", Message(loaded.status()).c_str());
        continue;
      }
      auto* family = static_cast<native::ModelFamily*>((*loaded)->family());
      for (const std::string& name : family->families()) out.push_back({file, name, family});
    }
    return out;
  }();
  return all;
}

native::ModelFamily& FindFamily(const std::string& family) {
  for (const FamilyCase& c : InstalledFamilies())
    if (c.family == family) return *c.implementation;
  throw std::runtime_error("no plugin has the family " + family);
}

std::string TestName(std::string family) {
  std::replace(family.begin(), family.end(), '-', '_');
  return family;
}

bool ReadsPositions(const std::string& family) {
  for (const char* name : {"qwen2", "qwen3", "llama", "gptalpha", "goldfinch-llama"})
    if (family == name) return true;
  return false;
}

// Finch-C2 keeps the bonus that its second value stands in for.
bool IsUnused(const native::NamedTensors& parameters, const std::string& name) {
  const size_t end = name.rfind("time_faaaa");
  return end != std::string::npos && parameters.contains(name.substr(0, end) + "time_value2_w1");
}

native::NamedTensors ReadSafetensors(const std::string& path) {
  const auto file = Value(base::MappedFile::Open(path));
  const formats::SafetensorsView view = Value(formats::ParseSafetensors(file->bytes(), path));
  native::NamedTensors out;
  for (const formats::SafetensorsTensor& t : view.tensors) {
    at::Tensor tensor = at::empty(t.shape, at::dtype(policy::ScalarTypeOf(t.dtype).value()));
    std::memcpy(tensor.data_ptr(), t.bytes.data(), t.bytes.size());
    out[t.name] = tensor;
  }
  return out;
}

std::string ReadText(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot open " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TinyModel MakeTiny(const FamilyCase& family, at::ScalarType dtype, bool tied) {
  native::ScratchConfig scratch;
  scratch.family = family.family;
  scratch.layers = 2;
  scratch.width = 96;
  scratch.heads = 6;
  scratch.kv_heads = 2;
  scratch.ffn_width = 72;
  scratch.vocabulary = 61;
  scratch.context = 256;
  scratch.tied = tied;
  std::string config;
  try {
    config = family.implementation->ScratchConfigJson(scratch);
  } catch (const std::invalid_argument&) {  // heads don't share keys in this family
    scratch.kv_heads = 0;
    config = family.implementation->ScratchConfigJson(scratch);
  }
  TinyModel out = Build(*family.implementation, config, dtype);
  for (const native::TensorSpec& spec : out.model->parameters())
    out.parameters[spec.name] = at::empty(spec.shape, at::dtype(dtype));
  out.model->Initialise(out.parameters, 17);
  // Large enough for logits of order one, and nowhere zero: what begins as zero would hide paths.
  at::Generator generator = at::detail::createCPUGenerator(5);
  for (const native::TensorSpec& spec : out.model->parameters()) {
    at::Tensor& tensor = out.parameters[spec.name];
    const at::Tensor noise = at::randn(tensor.sizes(), generator, at::dtype(dtype));
    if (!spec.weight_decay)
      tensor.add_(noise, 0.2);
    else
      tensor.copy_(noise).mul_(1.1 / std::sqrt(static_cast<double>(spec.shape.back())));
  }
  Bind(out);
  return out;
}

TinyModel LoadModelFolder(const std::string& folder, at::ScalarType dtype) {
  const std::string config = ReadText(folder + "/config.json");
  const size_t at = config.find("\"model_type\": \"") + 15;
  native::ModelFamily& family = FindFamily(config.substr(at, config.find('"', at) - at));
  const native::NamedTensors parameters = ReadSafetensors(folder + "/model.safetensors");
  std::vector<native::FileTensor> shapes;
  for (const auto& [name, tensor] : parameters) shapes.push_back({name, tensor.sizes().vec()});
  TinyModel out = Build(family, family.CompleteConfig(config, shapes), dtype);
  out.parameters = parameters;
  for (auto& [name, tensor] : out.parameters) tensor = tensor.to(dtype);
  Bind(out);
  return out;
}

TinyModel Convert(const FamilyCase& family, const TinyModel& from, at::ScalarType dtype,
                  const std::map<std::string, std::string>& options) {
  TinyModel out = Build(*family.implementation, from.model->config_json(), dtype, options);
  for (const auto& [name, tensor] : from.parameters) out.parameters[name] = tensor.detach().to(dtype).clone();
  Bind(out);
  return out;
}

at::Tensor RandomTokens(int64_t count, int64_t vocabulary, uint64_t seed) {
  return at::randint(0, vocabulary, {count}, at::detail::createCPUGenerator(seed), at::dtype(at::kLong));
}

native::Batch MakeBatch(const std::vector<at::Tensor>& segments, const std::vector<int64_t>& parents) {
  native::Batch batch;
  std::vector<at::Tensor> positions;
  std::vector<int64_t> ends;
  int64_t at = 0;
  for (size_t i = 0; i < segments.size(); i++) {
    const int64_t start = parents[i] < 0 ? 0 : ends[parents[i]], count = segments[i].size(0);
    batch.segments.push_back({at, at + count, parents[i]});
    positions.push_back(at::arange(start, start + count, at::dtype(at::kLong)));
    ends.push_back(start + count);
    at += count;
  }
  batch.tokens = at::cat(segments);
  batch.positions = at::cat(positions);
  return batch;
}

at::Tensor TrainLogits(native::Model& model, const native::Batch& batch) {
  const auto context = model.Begin(batch);
  at::Tensor x = model.Embed(batch, *context);
  for (int64_t i = 0; i < model.blocks(); i++) x = model.Block(i, x, *context);
  return model.Logits(model.Final(x));
}

Sampler::Sampler(const TinyModel& tiny, at::ScalarType dtype)
    : model(*tiny.model), weights(model.Prepare(tiny.parameters, 3)), state(model.MakeState(dtype)) {}

at::Tensor Sampler::Read(int64_t slot, const at::Tensor& tokens, int64_t first) {
  return Read({{slot, tokens}}, first);
}

at::Tensor Sampler::Read(const std::vector<std::pair<int64_t, at::Tensor>>& chunks, int64_t first,
                         int64_t prompt_remaining) {
  std::vector<std::vector<int32_t>> tokens;
  for (const auto& [slot, t] : chunks) {
    const at::Tensor narrow = t.to(at::kInt).contiguous();
    tokens.emplace_back(narrow.data_ptr<int32_t>(), narrow.data_ptr<int32_t>() + narrow.numel());
  }
  std::vector<native::Chunk> all;
  for (size_t i = 0; i < chunks.size(); i++)
    all.push_back({chunks[i].first, tokens[i], first, prompt_remaining});
  return model.Advance(*weights, *state, all);
}

double MaxDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace volery::testing
