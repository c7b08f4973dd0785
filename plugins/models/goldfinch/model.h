#pragma once
// One model: description in model.cc, training in training.cc, sampling in sampling.cc.

#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "layers.h"
#include "state.h"
#include "tensors.h"
#include "volery/native/model.h"
#include "volery/nn/rotary.h"

namespace volery::goldfinch {

class Model final : public native::Model {
 public:
  Model(const std::string& config_json, const native::BuildOptions& options);
  ~Model() override;

  const native::ModelInfo& info() const override { return info_; }
  const std::string& config_json() const override { return config_json_; }
  const std::vector<native::TensorSpec>& parameters() const override { return specs_; }
  native::StateSpec state_spec(c10::ScalarType sampler_dtype) const override;
  void Initialise(native::NamedTensors& parameters, uint64_t seed) const override;

  void Bind(const native::NamedTensors& parameters) override;
  int64_t blocks() const override { return config_.layers; }
  std::unique_ptr<native::TrainContext> Begin(const native::Batch& batch) override;
  at::Tensor Embed(const native::Batch& batch, native::TrainContext& ctx) override;
  // Between GOLD layers, and into the first, a row holds the residual and the proto-key: [T, 2 W].
  at::Tensor Block(int64_t block, const at::Tensor& x, native::TrainContext& ctx) override;
  at::Tensor Final(const at::Tensor& x) override;
  at::Tensor Logits(const at::Tensor& hidden) override;

  std::shared_ptr<const native::PreparedWeights> Prepare(const native::NamedTensors& weights,
                                                         int64_t version) const override;
  std::unique_ptr<native::DecodeState> MakeState(c10::ScalarType dtype) const override;
  at::Tensor Advance(const native::PreparedWeights& weights, native::DecodeState& state,
                     std::span<const native::Chunk> chunks) const override;
  at::Tensor Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const override;

 private:
  struct Trained {  // the bound parameters
    at::Tensor embedding;
    Ends ends;
    std::vector<Layer> layers;
  };
  struct Prepared;  // one version for sampling
  class Context;    // one forward pass
  class Step;       // one Advance call

  int64_t SavedElements() const;
  // Undefined rows where the model has no rotary positions. Throws beyond the table.
  nn::RotaryRows RotaryOf(const at::Tensor& positions, int64_t largest, c10::ScalarType dtype) const;

  Config config_;
  std::string config_json_;
  native::BuildOptions options_;
  CacheMode cache_mode_ = CacheMode::kFull;
  int64_t memo_bytes_ = int64_t{256} << 20;  // where the cache isn't full
  std::unique_ptr<nn::LinearFactory> own_linears_;  // where the host gave none
  std::unique_ptr<nn::Rotary> rotary_;              // null: none
  native::ModelInfo info_;
  std::vector<Parameter> parameters_;
  std::vector<native::TensorSpec> specs_;
  std::unique_ptr<Trained> trained_;
};

}  // namespace volery::goldfinch
