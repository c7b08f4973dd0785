#pragma once
// One model of the families rwkv5 and rwkv6: training in model.cc, sampling in sampling.cc, the layer in
// time_mix.cc.

#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "time_mix.h"
#include "volery/native/model.h"

namespace volery::rwkv {

class Model final : public native::Model {
 public:
  Model(const std::string& config_json, const native::BuildOptions& options);
  ~Model() override;

  const native::ModelInfo& info() const override { return info_; }
  const std::string& config_json() const override { return config_json_; }
  const std::vector<native::TensorSpec>& parameters() const override { return parameters_; }
  native::StateSpec state_spec(c10::ScalarType sampler_dtype) const override;
  void Initialise(native::NamedTensors& parameters, uint64_t seed) const override;

  void Bind(const native::NamedTensors& parameters) override;
  int64_t blocks() const override { return config_.layers; }
  std::unique_ptr<native::TrainContext> Begin(const native::Batch& batch) override;
  at::Tensor Embed(const native::Batch& batch, native::TrainContext& ctx) override;
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
  struct TrainLayer;
  class Context;
  class TrainOps;
  struct Prepared;
  class State;
  class SampleOps;

  int64_t SavedElements() const;

  Config config_;
  std::string config_json_;
  native::BuildOptions options_;
  std::unique_ptr<nn::LinearFactory> own_linears_;  // where the host gave none
  native::ModelInfo info_;
  std::vector<native::TensorSpec> parameters_;

  at::Tensor embedding_, final_weight_, final_bias_;
  std::vector<std::unique_ptr<TrainLayer>> layers_;
  std::unique_ptr<nn::Linear> head_;
};

}  // namespace volery::rwkv
