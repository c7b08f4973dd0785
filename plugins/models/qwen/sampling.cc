#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <set>
#include <stdexcept>

#include "model.h"
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

// What one call reads, flat.
struct Rows {
  std::vector<nn::SlotRows> slots;
  std::vector<int64_t> tokens, positions, wanted;  // wanted: rows whose hidden state is asked for

  Rows(std::span<const native::Chunk> chunks, const nn::SlotCache& cache) {
    std::set<int64_t> seen;
    for (const native::Chunk& chunk : chunks) {
      const int64_t count = static_cast<int64_t>(chunk.tokens.size()), length = cache.Length(chunk.slot);
      if (!seen.insert(chunk.slot).second)
        throw std::invalid_argument("Advance: slot " + std::to_string(chunk.slot) +
                                    " has two chunks in one call");
      if (chunk.first_row < 0 || chunk.first_row > count)
        throw std::invalid_argument("Advance: first_row " + std::to_string(chunk.first_row) +
                                    " of a chunk of " + std::to_string(count));
      slots.push_back({chunk.slot, count});
      for (int64_t i = 0; i < count; i++) {
        if (i >= chunk.first_row) wanted.push_back(static_cast<int64_t>(tokens.size()));
        tokens.push_back(chunk.tokens[i]);
        positions.push_back(length + i);
      }
    }
  }
};

void CheckTokens(const std::vector<int64_t>& tokens, int64_t vocabulary) {
  for (int64_t token : tokens)
    if (token < 0 || token >= vocabulary)
      throw std::invalid_argument("token " + std::to_string(token) + " is outside the vocabulary of " +
                                  std::to_string(vocabulary));
}

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
    return RequireTensor(weights, Name(i, name), {size})
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
    return RequireTensor(weights, name, shape).detach().to(options_.device, options_.dtype, false, copy);
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
  const Rows rows(chunks, cache);
  CheckTokens(rows.tokens, config_.vocabulary);
  if (rows.tokens.empty()) return at::empty({0, config_.width}, prepared.final_norm.options());
  cache.Reserve(rows.slots);
  const auto index = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::kLong).to(options_.device);
  };
  Step step{cache, rows.slots, rotary_.Rows(index(rows.positions), at::kFloat), {}};
  if (rows.wanted.size() != rows.tokens.size()) step.wanted = index(rows.wanted);
  const at::Tensor tokens = index(rows.tokens);
  at::Tensor x = prepared.embedding.defined() ? prepared.embedding.index_select(0, tokens)
                                              : prepared.head->WeightRows(tokens);
  for (int64_t i = 0; i < config_.layers; i++) x = SampleBlock(prepared, i, x, step);
  cache.Commit(rows.slots);
  return nn::RmsNorm(x, prepared.final_norm, config_.eps);
}

at::Tensor Model::Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return dynamic_cast<const Prepared&>(weights).head->Forward(hidden).to(at::kFloat);
}

}  // namespace volery::qwen
