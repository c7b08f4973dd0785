#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model.h"
#include "volery/native/chunk_rows.h"
#include "volery/nn/activation.h"
#include "volery/nn/norm.h"
#include "volery/nn/slot_cache.h"

namespace volery::qwen {
namespace {

class State final : public native::DecodeState {
 public:
  explicit State(std::unique_ptr<nn::SlotCache> c) : cache(std::move(c)) {}
  int64_t Allocate(int64_t expected_tokens) override { return cache->Allocate(expected_tokens); }
  int64_t Fork(int64_t slot, int64_t expected_tokens) override { return cache->Fork(slot, expected_tokens); }
  void Drop(int64_t slot) override { cache->Drop(slot); }
  void Clear(int64_t slot) override { cache->Clear(slot); }
  int64_t Length(int64_t slot) const override { return cache->Length(slot); }
  int64_t bytes() const override { return cache->bytes(); }

  std::unique_ptr<nn::SlotCache> cache;
};

}  // namespace

struct Model::PreparedLayer {
  at::Tensor input_norm, post_norm, q_norm, k_norm;
  std::unique_ptr<nn::PackedLinear> qkv, output, gate_up, down;
};

struct Model::Prepared final : native::PreparedWeights {
  int64_t id = 0;
  at::Tensor embedding, final_norm;  // embedding undefined: the head holds its rows
  std::vector<std::unique_ptr<PreparedLayer>> layers;
  std::unique_ptr<nn::PackedLinear> head;

  int64_t version() const override { return id; }
  int64_t bytes() const override {
    int64_t total = (embedding.defined() ? static_cast<int64_t>(embedding.nbytes()) : 0) + head->bytes();
    for (const auto& layer : layers)
      total += layer->qkv->bytes() + layer->output->bytes() + layer->gate_up->bytes() + layer->down->bytes();
    return total;
  }
};

struct Model::Step {
  nn::SlotCache& cache;
  const std::vector<nn::SlotRows>& slots;
  nn::RotaryRows rotary;
  at::Tensor wanted;  // undefined: all rows
};

std::unique_ptr<Model::PreparedLayer> Model::PrepareLayer(int64_t i,
                                                          const native::NamedTensors& weights) const {
  const auto vector = [&](const char* name, int64_t size) {
    return nn::RequireTensor(weights, Name(i, name), {size})
        .detach()
        .to(options_.device, options_.dtype, false, /*copy=*/true);
  };
  const auto pack = [&](std::initializer_list<Product> products) {
    std::vector<nn::LinearSpec> specs;
    native::NamedTensors converted;
    for (Product p : products) {
      specs.push_back(Spec(i, p));
      for (const std::string& name : {specs.back().weight, specs.back().bias}) {
        const auto found = weights.find(name);
        if (found != weights.end())
          converted[name] = found->second.detach().to(options_.device, options_.dtype);
      }
    }
    return options_.linears->Pack(specs, converted);
  };
  auto layer = std::make_unique<PreparedLayer>();
  layer->input_norm = vector("input_layernorm.weight", config_.width);
  layer->post_norm = vector("post_attention_layernorm.weight", config_.width);
  if (config_.head_norm) {
    layer->q_norm = vector("self_attn.q_norm.weight", config_.head_dim);
    layer->k_norm = vector("self_attn.k_norm.weight", config_.head_dim);
  }
  layer->qkv = pack({kQuery, kKey, kValue});
  layer->output = pack({kOutput});
  layer->gate_up = pack({kGate, kUp});
  layer->down = pack({kDown});
  return layer;
}

std::shared_ptr<const native::PreparedWeights> Model::Prepare(const native::NamedTensors& weights,
                                                              int64_t version) const {
  const at::NoGradGuard no_grad;
  auto out = std::make_shared<Prepared>();
  out->id = version;
  const auto converted = [&](const std::string& name, at::IntArrayRef shape, bool copy) {
    return nn::RequireTensor(weights, name, shape).detach().to(options_.device, options_.dtype, false, copy);
  };
  if (!config_.tied)
    out->embedding = converted("model.embed_tokens.weight", {config_.vocabulary, config_.width}, true);
  out->final_norm = converted("model.norm.weight", {config_.width}, true);
  for (int64_t i = 0; i < config_.layers; i++) out->layers.push_back(PrepareLayer(i, weights));
  const nn::LinearSpec head = HeadSpec();
  native::NamedTensors head_weight;
  head_weight[head.weight] = converted(head.weight, {config_.vocabulary, config_.width}, false);
  out->head = options_.linears->Pack({head}, head_weight);
  return out;
}

std::unique_ptr<native::DecodeState> Model::MakeState(c10::ScalarType dtype) const {
  const nn::CacheShape shape{config_.layers, config_.heads, config_.kv_heads, config_.head_dim};
  return std::make_unique<State>(nn::SlotCache::Make(shape, dtype, options_.device));
}

at::Tensor Model::SampleBlock(const Prepared& weights, int64_t index, const at::Tensor& x,
                              const Step& step) const {
  const PreparedLayer& layer = *weights.layers[index];
  at::Tensor qkv = layer.qkv->Forward(nn::RmsNorm(x, layer.input_norm, config_.eps));
  if (config_.head_norm) {
    nn::RmsNormHeadsInPlace(qkv, 0, config_.heads, layer.q_norm, config_.eps);
    nn::RmsNormHeadsInPlace(qkv, config_.heads * config_.head_dim, config_.kv_heads, layer.k_norm,
                            config_.eps);
  }
  nn::ApplyRotaryInPlace(qkv, config_.heads + config_.kv_heads, config_.head_dim, step.rotary);
  at::Tensor attended = step.cache.Attend(index, step.slots, qkv, AttentionScale());
  at::Tensor mid = x;
  if (index + 1 == config_.layers && step.wanted.defined()) {
    attended = attended.index_select(0, step.wanted);
    mid = x.index_select(0, step.wanted);
  }
  mid = layer.output->Forward(attended).add_(mid);
  const at::Tensor h = nn::RmsNorm(mid, layer.post_norm, config_.eps);
  return layer.down->Forward(nn::SiluGateFused(layer.gate_up->Forward(h))).add_(mid);
}

at::Tensor Model::Advance(const native::PreparedWeights& weights, native::DecodeState& state,
                          std::span<const native::Chunk> chunks) const {
  const at::NoGradGuard no_grad;
  const auto& prepared = dynamic_cast<const Prepared&>(weights);
  nn::SlotCache& cache = *dynamic_cast<State&>(state).cache;
  const native::ChunkRows rows(chunks, config_.vocabulary);
  std::vector<nn::SlotRows> slots;
  std::vector<int64_t> positions;
  for (size_t i = 0; i < rows.slots().size(); i++) {
    slots.push_back({rows.slots()[i], rows.counts()[i]});
    const int64_t length = cache.Length(rows.slots()[i]);
    for (int64_t t = 0; t < rows.counts()[i]; t++) positions.push_back(length + t);
  }
  if (rows.tokens().empty()) return at::empty({0, config_.width}, prepared.final_norm.options());
  cache.Reserve(slots);
  const auto index = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(options_.device);
  };
  Step step{cache, slots, rotary_.Rows(index(positions), at::kFloat), {}};
  if (rows.wanted().size() != rows.tokens().size()) step.wanted = index(rows.wanted());
  const at::Tensor tokens = index(rows.tokens());
  at::Tensor x = prepared.embedding.defined() ? prepared.embedding.index_select(0, tokens)
                                              : prepared.head->WeightRows(tokens);
  for (int64_t i = 0; i < config_.layers; i++) x = SampleBlock(prepared, i, x, step);
  cache.Commit(slots);
  return nn::RmsNorm(x, prepared.final_norm, config_.eps);
}

at::Tensor Model::Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return dynamic_cast<const Prepared&>(weights).head->Forward(hidden).to(at::kFloat);
}

}  // namespace volery::qwen
