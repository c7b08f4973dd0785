#include "pth.h"

#include <map>
#include <stdexcept>

#include "config.h"
#include "names.h"

namespace volery::rwkv {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

[[noreturn]] void Refuse(const std::string& what) {
  throw std::invalid_argument("RWKV checkpoint: " + what);
}

std::string Text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); i++) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

std::vector<int64_t> Shape(const Shapes& shapes, const std::string& name, size_t dimensions) {
  const auto found = shapes.find(name);
  if (found == shapes.end()) Refuse("tensor " + name + " is missing");
  if (found->second.size() != dimensions)
    Refuse("tensor " + name + " has shape " + Text(found->second) + "; " + std::to_string(dimensions) +
           " dimensions are needed");
  return found->second;
}

// Each version left its mark in the names.
Version VersionOf(const Shapes& shapes) {
  const std::string att = "blocks.0.att.";
  if (shapes.contains(att + "r_k") || shapes.contains(att + "x_r"))
    Refuse("these are the tensors of RWKV-7, which is not supported; supported: RWKV-5.2 and RWKV-6");
  if (shapes.contains(att + "time_maa_r2") || shapes.contains(att + "time_value2_w1"))
    Refuse("these are the tensors of a Finch-C2 model; use the family goldfinch");
  if (!shapes.contains(att + "ln_x.weight"))
    Refuse("these are the tensors of RWKV-4 or older, which is not supported; supported: RWKV-5.2 and RWKV-6");
  if (shapes.contains(att + "time_maa_x")) return Version::kFinch;
  const std::vector<int64_t> decay = Shape(shapes, att + "time_decay", shapes.at(att + "time_decay").size());
  if (!shapes.contains(att + "gate.weight") || decay.size() < 2 || decay[1] == 1 ||
      !shapes.contains(att + "time_faaaa"))
    Refuse("these are the tensors of RWKV-5.0 or 5.1, which is not supported; supported: RWKV-5.2 and RWKV-6");
  return Version::kEagle;
}

int64_t Layers(const Shapes& shapes) {
  int64_t layers = 0;
  while (shapes.contains("blocks." + std::to_string(layers) + ".att.key.weight")) layers++;
  return layers;
}

Config ConfigOf(const Shapes& shapes) {
  Config c;
  const std::vector<int64_t> embedding = Shape(shapes, "emb.weight", 2);
  c.vocabulary = embedding[0];
  c.width = embedding[1];
  c.layers = Layers(shapes);
  if (!shapes.contains("blocks.0.att.time_decay") && !shapes.contains("blocks.0.att.time_maa_x"))
    Refuse("tensor blocks.0.att.time_decay is missing");
  c.version = VersionOf(shapes);
  c.head_size = Shape(shapes, "blocks.0.att.time_faaaa", 2)[1];
  c.ffn_width = Shape(shapes, "blocks.0.ffn.key.weight", 2)[0];
  if (c.finch()) {
    c.mix_rank = Shape(shapes, "blocks.0.att.time_maa_w2", 3)[1];
    c.decay_rank = Shape(shapes, "blocks.0.att.time_decay_w2", 2)[0];
  }
  c.time_state = shapes.contains("blocks.0.att.time_state");
  c.context = 4096;
  c.stop_ids = {0};
  return c;
}

}  // namespace

std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors) {
  Shapes shapes;
  for (const native::FileTensor& tensor : tensors) shapes[tensor.name] = tensor.shape;
  if (!shapes.contains("emb.weight") || !shapes.contains("blocks.0.att.key.weight") ||
      shapes.contains("w_kv_cache_a.weight"))
    return std::nullopt;
  const Config config = ConfigOf(shapes);
  native::ImportPlan plan;
  plan.config_json = WriteConfig(config);
  std::string problems;
  for (const Entry& entry : ListEntries(config)) {
    const std::string name = OriginalName(entry);
    const auto found = shapes.find(name);
    if (found == shapes.end())
      problems += "; " + name + " is missing";
    else if (found->second != entry.shape)
      problems += "; " + name + " has shape " + Text(found->second) + " instead of " + Text(entry.shape);
    if (found != shapes.end()) shapes.erase(found);
  }
  for (const auto& [name, shape] : shapes) problems += "; " + name + " is surplus";
  if (!problems.empty()) Refuse(problems.substr(2));
  plan.tensors = PthTensors(plan.config_json);
  return plan;
}

std::vector<native::ImportedTensor> PthTensors(const std::string& config_json) {
  std::vector<native::ImportedTensor> out;
  for (const Entry& entry : ListEntries(ParseConfig(config_json)))
    out.push_back({OriginalName(entry), FullName(entry), 0});
  return out;
}

}  // namespace volery::rwkv
