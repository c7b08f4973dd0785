#include "model.h"

#include <ATen/ATen.h>

#include <charconv>
#include <stdexcept>

namespace volery::goldfinch {
namespace {

int64_t ParseBytes(const std::string& key, const std::string& value) {
  int64_t out = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc() || end != value.data() + value.size() || out < 0)
    throw std::invalid_argument(key + " = \"" + value + "\": a number of bytes, not negative");
  return out;
}

}  // namespace

Model::Model(const std::string& config_json, const native::BuildOptions& options)
    : config_(ParseConfig(config_json)), config_json_(config_json), options_(options) {
  for (const auto& [key, value] : options_.options) {
    if (key == "cache")
      cache_mode_ = ParseCacheMode(value);
    else if (key == "memo_bytes")
      memo_bytes_ = ParseBytes(key, value);
    else
      throw std::invalid_argument(config_.family + " has no option " + key + "; it has: cache, memo_bytes");
  }
  if (!config_.gold()) cache_mode_ = CacheMode::kFull;
  if (!options_.linears) {
    own_linears_ = nn::MakeLinearFactory();
    options_.linears = own_linears_.get();
  }
  if (config_.rope_theta)
    rotary_ = std::make_unique<nn::Rotary>(
        nn::RotarySpec{.head_dim = config_.head_size, .theta = *config_.rope_theta});
  parameters_ = ListParameters(config_);
  info_ = {config_.family, config_.layers,   config_.width,  config_.vocabulary, config_.context, 0,
           false,          config_.stop_ids, SavedElements()};
  info_.recurrent = !Attends(config_.lower) && !Attends(config_.upper);
  for (const Parameter& p : parameters_) {
    specs_.push_back(p.spec);
    info_.parameters += c10::multiply_integers(p.spec.shape);
  }
}

// Of the layer kind that keeps most: inputs of norms, streams and what they are made of, what products read
// and give, moments of the norms, attention's two numbers a head.
int64_t Model::SavedElements() const {
  const int64_t w = config_.width, f = config_.ffn_width, heads = config_.heads();
  const int64_t mix = config_.mix_rank, decay = config_.decay_rank;
  const auto kept = [&](TimeMix kind) {
    switch (kind) {
      case TimeMix::kLlama:
        return 8 * w + 3 * f + 2 * heads + 4;
      case TimeMix::kGptAlpha:
        return 23 * w + 2 * f + 6 * mix + 2 * heads + 12;
      case TimeMix::kFinch:
        return 27 * w + 2 * f + 10 * mix + 2 * decay + 2 * heads + 4;
      case TimeMix::kFinchC2:
        return 27 * w + 2 * f + 10 * mix + 4 * decay + 6;
      default:
        return 30 * w + 2 * f + 6 * mix + 4 * config_.gold_rank + 2 * heads + 16;
    }
  };
  // The layer below the first GOLD layer makes the proto-keys too.
  const int64_t keys = config_.gold() ? 5 * w + config_.compressed + 4 : 0;
  return std::max(kept(config_.lower) + keys, kept(config_.upper));
}

native::StateSpec Model::state_spec(c10::ScalarType sampler_dtype) const {
  return State::Spec(config_, cache_mode_, memo_bytes_, sampler_dtype);
}

void Model::Initialise(native::NamedTensors& parameters, uint64_t seed) const {
  for (const Parameter& p : parameters_) {
    at::Tensor tensor = nn::RequireTensor(parameters, p.spec.name, p.spec.shape);
    Fill(p, tensor, seed);
  }
}

nn::RotaryRows Model::RotaryOf(const at::Tensor& positions, int64_t largest, c10::ScalarType dtype) const {
  if (!rotary_) return {};
  if (largest >= config_.context)
    throw std::invalid_argument("position " + std::to_string(largest) +
                                " lies beyond the rotary positions of " + config_.family +
                                ": max_position_embeddings = " + std::to_string(config_.context));
  return rotary_->Rows(positions, dtype);
}

}  // namespace volery::goldfinch
