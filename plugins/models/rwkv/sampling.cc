#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "model.h"
#include "names.h"
#include "volery/native/chunk_rows.h"
#include "volery/nn/norm.h"
#include "volery/nn/slot_states.h"

namespace volery::rwkv {

struct Model::Prepared final : native::PreparedWeights {
  struct Layer {
    LayerTensors tensors;
    std::vector<std::unique_ptr<nn::PackedLinear>> products;
  };
  int64_t id = 0;
  at::Tensor embedding, final_weight, final_bias;
  std::vector<Layer> layers;
  std::unique_ptr<nn::PackedLinear> head;

  int64_t version() const override { return id; }
  int64_t bytes() const override {
    int64_t total = static_cast<int64_t>(embedding.nbytes()) + head->bytes();
    for (const Layer& layer : layers)
      for (const auto& product : layer.products) total += product->bytes();
    return total;
  }
};

// Part 0: states [layers, heads, N, N]; part 1: shift rows [layers, 2, W] in the sampler's dtype.
class Model::State final : public native::DecodeState {
 public:
  explicit State(nn::SlotStates s) : slots(std::move(s)) {}
  int64_t Allocate(int64_t) override { return slots.Allocate(); }
  int64_t Fork(int64_t slot, int64_t) override { return slots.Fork(slot); }
  void Drop(int64_t slot) override { slots.Drop(slot); }
  void Clear(int64_t slot) override { slots.Clear(slot); }
  int64_t Length(int64_t slot) const override { return slots.Length(slot); }
  int64_t bytes() const override { return slots.bytes(); }

  nn::SlotStates slots;
};

class Model::SampleOps final : public LayerOps {
 public:
  SampleOps(const Config& c, const Prepared::Layer& layer, int64_t index, const native::ChunkRows& rows,
            const nn::SlotStates& slots)
      : config_(c), layer_(layer), counts_(rows.counts()) {
    for (int64_t slot : rows.slots()) {
      states_.push_back(slots.Get(slot, 0).select(0, index));
      const at::Tensor shift = slots.Get(slot, 1).select(0, index);
      attention_.push_back(shift.select(0, 0));
      feed_forward_.push_back(shift.select(0, 1));
      if (layer.tensors.time_state.defined() && slots.Length(slot) == 0)
        states_.back().copy_(layer.tensors.time_state.transpose(1, 2));
    }
  }

  at::Tensor Multiply(Product product, const at::Tensor& x) override {
    return layer_.products[product]->Forward(x);
  }
  std::vector<at::Tensor> Shift(Half half, const at::Tensor& z, const std::vector<nn::MixStream>& streams,
                                bool again) override {
    const auto mix = again ? nn::PeekSlots : nn::MixSlots;
    return mix(z, counts_, half == Half::kAttention ? attention_ : feed_forward_, streams,
               config_.finch() ? nn::MuOf::kBefore : nn::MuOf::kCurrent);
  }
  at::Tensor Scan(const nn::WkvInputs& in) override {
    return nn::WkvSlots(in, config_.heads(), counts_, states_);
  }

 private:
  const Config& config_;
  const Prepared::Layer& layer_;
  std::span<const int64_t> counts_;
  std::vector<at::Tensor> states_, attention_, feed_forward_;
};

std::shared_ptr<const native::PreparedWeights> Model::Prepare(const native::NamedTensors& weights,
                                                              int64_t version) const {
  const at::NoGradGuard no_grad;
  auto out = std::make_shared<Prepared>();
  out->id = version;
  const auto copy = [&](const std::string& name, at::IntArrayRef shape) {
    return nn::RequireTensor(weights, name, shape).detach().to(options_.device, options_.dtype, false, /*copy=*/true);
  };
  const auto pack = [&](const nn::LinearSpec& spec) {
    native::NamedTensors converted;
    for (const std::string& name : {spec.weight, spec.bias})
      if (const auto found = weights.find(name); found != weights.end())
        converted[name] = found->second.detach().to(options_.device, options_.dtype);
    return options_.linears->Pack({spec}, converted);
  };
  const std::string final = kFinalNorm;
  out->embedding = copy(kEmbedding, {config_.vocabulary, config_.width});
  out->final_weight = copy(final + ".weight", {config_.width});
  out->final_bias = copy(final + ".bias", {config_.width});
  for (int64_t i = 0; i < config_.layers; i++) {
    Prepared::Layer layer;
    layer.tensors = TakeLayer(config_, i, [&](const char* name, const std::vector<int64_t>& shape) {
      return copy(LayerName(i, name), shape);
    });
    for (int p = 0; p < Products(config_); p++)
      layer.products.push_back(pack(SpecOf(config_, i, static_cast<Product>(p))));
    out->layers.push_back(std::move(layer));
  }
  out->head = pack({kHead, "", config_.width, config_.vocabulary});
  return out;
}

std::unique_ptr<native::DecodeState> Model::MakeState(c10::ScalarType dtype) const {
  const int64_t n = config_.head_size;
  return std::make_unique<State>(
      nn::SlotStates({{"states", {config_.layers, config_.heads(), n, n}, at::kFloat},
                      {"shift rows", {config_.layers, 2, config_.width}, dtype}},
                     options_.device));
}

at::Tensor Model::Advance(const native::PreparedWeights& weights, native::DecodeState& state,
                          std::span<const native::Chunk> chunks) const {
  const at::NoGradGuard no_grad;
  const auto& prepared = dynamic_cast<const Prepared&>(weights);
  nn::SlotStates& slots = dynamic_cast<State&>(state).slots;
  const native::ChunkRows rows(chunks, config_.vocabulary);
  for (int64_t slot : rows.slots()) slots.Length(slot);  // all are allocated
  if (rows.tokens().empty()) return at::empty({0, config_.width}, prepared.final_weight.options());
  const auto index = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(options_.device);
  };
  const LayerTensors& first = prepared.layers.front().tensors;
  at::Tensor x = nn::LayerNorm(prepared.embedding.index_select(0, index(rows.tokens())), first.ln0_weight,
                               first.ln0_bias, config_.eps);
  for (int64_t i = 0; i < config_.layers; i++) {
    SampleOps ops(config_, prepared.layers[i], i, rows, slots);
    x = RunLayer(config_, prepared.layers[i].tensors, ops, x);
  }
  for (size_t i = 0; i < rows.slots().size(); i++) slots.Grow(rows.slots()[i], rows.counts()[i]);
  if (rows.wanted().size() != rows.tokens().size()) x = x.index_select(0, index(rows.wanted()));
  return nn::LayerNorm(x, prepared.final_weight, prepared.final_bias, config_.eps);
}

at::Tensor Model::Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return dynamic_cast<const Prepared&>(weights).head->Forward(hidden).to(at::kFloat);
}

}  // namespace volery::rwkv
