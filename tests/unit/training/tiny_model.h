#pragma once
// A model small enough for finite differences that still honours everything the trainer promises to its
// models: positions, segments with parents, blocks, a final norm and a head; and makers of rollouts for it.

#include <ATen/ATen.h>

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/data/rollout.h"
#include "volery/native/model.h"

namespace volery::training {

class TinyModel : public native::Model {
 public:
  static constexpr int64_t kVocabulary = 11, kWidth = 6, kBlocks = 2;

  TinyModel() {
    info_.family = "tiny";
    info_.vocabulary = kVocabulary;
    info_.width = kWidth;
    info_.layers = kBlocks;
    Add("embed", {kVocabulary, kWidth}, true);
    for (int64_t i = 0; i < kBlocks; ++i) {
      for (const char* matrix : {"query", "key", "value", "mix"})
        Add(BlockName(i, matrix), {kWidth, kWidth}, true);
    }
    Add("norm", {kWidth}, false);
    Add("head", {kVocabulary, kWidth}, true);
  }

  native::NamedTensors Initial(uint64_t seed, at::ScalarType dtype) const {
    native::NamedTensors out;
    for (const native::TensorSpec& spec : specs_) out[spec.name] = at::empty(spec.shape, dtype);
    Initialise(out, seed);
    return out;
  }

  const native::ModelInfo& info() const override { return info_; }
  const std::string& config_json() const override { return config_; }
  const std::vector<native::TensorSpec>& parameters() const override { return specs_; }
  void AskForRate(const std::string& name, double scale) {
    for (native::TensorSpec& spec : specs_)
      if (spec.name == name) spec.lr_scale = scale;
  }
  native::StateSpec state_spec(c10::ScalarType) const override { return {}; }
  void Initialise(native::NamedTensors& parameters, uint64_t seed) const override {
    uint64_t tensor_number = 0;
    for (auto& [name, tensor] : parameters) {
      base::RandomStream stream(seed, base::RandomUse::kInit, tensor_number++);
      std::vector<double> values(static_cast<size_t>(tensor.numel()));
      for (double& value : values) value = name == "norm" ? 1 : 1.2 * (stream.NextUnit() - 0.5);
      tensor.copy_(at::tensor(values, at::kDouble).view(tensor.sizes()));
    }
  }

  void Bind(const native::NamedTensors& parameters) override { bound_ = parameters; }
  int64_t blocks() const override { return kBlocks; }

  std::unique_ptr<native::TrainContext> Begin(const native::Batch& batch) override {
    auto context = std::make_unique<Context>();
    const int64_t tokens = batch.tokens.size(0);
    at::Tensor mask = at::full({tokens, tokens}, -1e30, bound_.at("embed").options().requires_grad(false));
    for (const native::Segment& segment : batch.segments) {
      for (int64_t t = segment.begin; t < segment.end; ++t) {
        mask[t].narrow(0, segment.begin, t + 1 - segment.begin).fill_(0);
        if (segment.parent < 0) continue;
        const native::Segment& parent = batch.segments[static_cast<size_t>(segment.parent)];
        mask[t].narrow(0, parent.begin, parent.end - parent.begin).fill_(0);
      }
    }
    context->mask = mask;
    return context;
  }
  at::Tensor Embed(const native::Batch& batch, native::TrainContext&) override {
    const at::Tensor& embed = bound_.at("embed");
    const at::Tensor angle = batch.positions.to(embed.scalar_type()).unsqueeze(1) *
                             at::arange(1, kWidth + 1, embed.options().requires_grad(false));
    return at::embedding(embed, batch.tokens) + angle.mul(0.7).sin().mul(0.3);
  }
  at::Tensor Block(int64_t block, const at::Tensor& x, native::TrainContext& context) override {
    ++block_calls;
    const at::Tensor scores =
        at::matmul(x.matmul(Weight(block, "query")), x.matmul(Weight(block, "key")).t());
    const at::Tensor attended =
        at::softmax(scores + static_cast<Context&>(context).mask, 1).matmul(x.matmul(Weight(block, "value")));
    const at::Tensor y = x + attended;
    return y + y.matmul(Weight(block, "mix")).tanh();
  }
  at::Tensor Final(const at::Tensor& x) override {
    return x * at::rsqrt(x.pow(2).mean(1, true) + 1e-6) * bound_.at("norm");
  }
  at::Tensor Logits(const at::Tensor& hidden) override {
    if (fail_logits) throw std::runtime_error("the plugin gave up");
    at::Tensor logits = hidden.matmul(bound_.at("head").t());
    return poison ? logits * std::numeric_limits<double>::quiet_NaN() : logits;
  }

  std::shared_ptr<const native::PreparedWeights> Prepare(const native::NamedTensors&,
                                                         int64_t) const override {
    throw std::logic_error("trains only");
  }
  std::unique_ptr<native::DecodeState> MakeState(c10::ScalarType) const override {
    throw std::logic_error("trains only");
  }
  at::Tensor Advance(const native::PreparedWeights&, native::DecodeState&,
                     std::span<const native::Chunk>) const override {
    throw std::logic_error("trains only");
  }
  at::Tensor Logits(const native::PreparedWeights&, const at::Tensor&) const override {
    throw std::logic_error("trains only");
  }

  bool poison = false;       // logits become NaN
  bool fail_logits = false;  // Logits throws
  int64_t block_calls = 0;

 private:
  struct Context : native::TrainContext {
    at::Tensor mask;
  };
  static std::string BlockName(int64_t block, const char* matrix) {
    return "block." + std::to_string(block) + "." + matrix;
  }
  const at::Tensor& Weight(int64_t block, const char* matrix) const {
    return bound_.at(BlockName(block, matrix));
  }
  void Add(const std::string& name, std::vector<int64_t> shape, bool decay) {
    specs_.push_back({name, std::move(shape), decay, 1});
  }

  native::ModelInfo info_;
  std::string config_ = "{}";
  std::vector<native::TensorSpec> specs_;
  native::NamedTensors bound_;
};

// A rollout with `sampled` random tokens below `vocabulary`; log-probs around -2.
inline data::Rollout RandomRollout(base::RandomStream& stream, const std::vector<int32_t>& prompt,
                                   int64_t sampled, int64_t version,
                                   uint64_t vocabulary = TinyModel::kVocabulary) {
  data::Rollout rollout;
  data::Span first, second;
  first.tokens = prompt;
  second.origin = data::SpanOrigin::kSampled;
  for (int64_t i = 0; i < sampled; ++i) {
    second.tokens.push_back(static_cast<int32_t>(stream.NextBelow(vocabulary)));
    second.logprobs.push_back(static_cast<float>(-2.4 + 0.8 * (stream.NextUnit() - 0.5)));
  }
  second.versions = {{0, VersionId(version), VersionId(version)}};
  rollout.spans = {first, second};
  return rollout;
}

// Groups of rollouts of uneven lengths with rewards that differ; a pure function of the arguments.
inline data::TrainBatch RandomBatch(uint64_t seed, int64_t step, int64_t groups, int64_t samples,
                                    int64_t version) {
  base::RandomStream stream(seed, base::RandomUse::kGenerator, static_cast<uint64_t>(step));
  data::TrainBatch batch;
  batch.step = StepId(step);
  for (int64_t g = 0; g < groups; ++g) {
    data::Group group;
    group.id = GroupId::Make(step, 0, static_cast<int>(g));
    std::vector<int32_t> prompt;
    for (uint64_t i = 0, n = 1 + stream.NextBelow(4); i < n; ++i)
      prompt.push_back(static_cast<int32_t>(stream.NextBelow(TinyModel::kVocabulary)));
    for (int64_t s = 0; s < samples; ++s) {
      data::Rollout rollout =
          RandomRollout(stream, prompt, 1 + static_cast<int64_t>(stream.NextBelow(6)), version);
      rollout.group = group.id;
      rollout.sample = static_cast<int32_t>(s);
      rollout.score.total = stream.NextUnit();
      group.rollouts.push_back(std::move(rollout));
    }
    batch.groups.push_back(std::move(group));
  }
  return batch;
}

}  // namespace volery::training
