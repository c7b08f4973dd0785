#include "model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <stdexcept>

#include "volery/nn/activation.h"
#include "volery/nn/embedding.h"
#include "volery/nn/initialise.h"
#include "volery/nn/norm.h"
#include "volery/nn/segment_attention.h"
#include "volery/nn/slot_cache.h"

namespace volery::qwen {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kFinalNorm[] = "model.norm.weight";
constexpr char kHead[] = "lm_head.weight";

struct Context final : native::TrainContext {
  Context(nn::SegmentAttention a, nn::RotaryRows r) : attention(std::move(a)), rotary(std::move(r)) {}
  nn::SegmentAttention attention;
  nn::RotaryRows rotary;
};

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

struct Model::TrainLayer {
  at::Tensor input_norm, post_norm, q_norm, k_norm;
  std::unique_ptr<nn::Linear> products[kDown + 1];
};

Model::Model(const std::string& config_json, const native::BuildOptions& options)
    : config_(ParseConfig(config_json)),
      config_json_(config_json),
      options_(options),
      rotary_(config_.rotary) {
  native::RefuseOptions(options);
  if (!options_.linears) {
    own_linears_ = nn::MakeLinearFactory();
    options_.linears = own_linears_.get();
  }
  ListParameters();
  info_ = {config_.family, config_.layers,   config_.width,  config_.vocabulary, config_.context, 0,
           config_.tied,   config_.stop_ids, SavedElements()};
  for (const native::TensorSpec& spec : parameters_) info_.parameters += c10::multiply_integers(spec.shape);
}

Model::~Model() = default;

std::string Model::Name(int64_t layer, const char* rest) const {
  return "model.layers." + std::to_string(layer) + "." + rest;
}

nn::LinearSpec Model::Spec(int64_t layer, Product product) const {
  const int64_t q = config_.heads * config_.head_dim, kv = config_.kv_heads * config_.head_dim;
  const auto make = [&](const char* name, bool bias, int64_t in, int64_t out) {
    const std::string base = Name(layer, name);
    return nn::LinearSpec{base + ".weight", bias ? base + ".bias" : "", in, out};
  };
  switch (product) {
    case kQuery:
      return make("self_attn.q_proj", config_.qkv_bias, config_.width, q);
    case kKey:
      return make("self_attn.k_proj", config_.qkv_bias, config_.width, kv);
    case kValue:
      return make("self_attn.v_proj", config_.qkv_bias, config_.width, kv);
    case kOutput:
      return make("self_attn.o_proj", config_.output_bias, q, config_.width);
    case kGate:
      return make("mlp.gate_proj", config_.mlp_bias, config_.width, config_.ffn_width);
    case kUp:
      return make("mlp.up_proj", config_.mlp_bias, config_.width, config_.ffn_width);
    default:
      return make("mlp.down_proj", config_.mlp_bias, config_.ffn_width, config_.width);
  }
}

nn::LinearSpec Model::HeadSpec() const {
  return {config_.tied ? kEmbedding : kHead, "", config_.width, config_.vocabulary};
}

void Model::ListParameters() {
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool matrix = shape.size() > 1;
    parameters_.push_back({name, std::move(shape), matrix, 1});
  };
  add(kEmbedding, {config_.vocabulary, config_.width});
  for (int64_t i = 0; i < config_.layers; i++) {
    add(Name(i, "input_layernorm.weight"), {config_.width});
    for (Product p : {kQuery, kKey, kValue, kOutput, kGate, kUp, kDown}) {
      const nn::LinearSpec spec = Spec(i, p);
      add(spec.weight, {spec.out, spec.in});
      if (!spec.bias.empty()) add(spec.bias, {spec.out});
      if (p != kOutput) continue;
      if (config_.head_norm) {
        add(Name(i, "self_attn.q_norm.weight"), {config_.head_dim});
        add(Name(i, "self_attn.k_norm.weight"), {config_.head_dim});
      }
      add(Name(i, "post_attention_layernorm.weight"), {config_.width});
    }
  }
  add(kFinalNorm, {config_.width});
  if (!config_.tied) add(kHead, {config_.vocabulary, config_.width});
}

// Inputs of the two norms and what they give, queries, keys, values, what attention gives and its two
// statistics a head, the feed-forward's three rows; with head norms, their inputs; two moments a norm.
int64_t Model::SavedElements() const {
  const int64_t q = config_.heads * config_.head_dim, kv = config_.kv_heads * config_.head_dim;
  return 4 * config_.width + 2 * q + 2 * kv + 2 * config_.heads + 3 * config_.ffn_width + 4 +
         (config_.head_norm ? q + kv + 2 * (config_.heads + config_.kv_heads) : 0);
}

double Model::AttentionScale() const {
  return 1 / std::sqrt(static_cast<double>(config_.head_dim));
}

native::StateSpec Model::state_spec(c10::ScalarType sampler_dtype) const {
  const nn::CacheShape shape{config_.layers, config_.heads, config_.kv_heads, config_.head_dim};
  return {nn::SlotCache::BytesPerSlot(shape, sampler_dtype),
          nn::SlotCache::BytesPerToken(shape, sampler_dtype), true,
          "keys and values of " + std::to_string(config_.layers) + " layers"};
}

void Model::Initialise(native::NamedTensors& parameters, uint64_t seed) const {
  const at::NoGradGuard no_grad;
  for (const native::TensorSpec& spec : parameters_) {
    at::Tensor tensor = nn::RequireTensor(parameters, spec.name, spec.shape);
    if (EndsWith(spec.name, "norm.weight"))
      tensor.fill_(1);
    else if (EndsWith(spec.name, ".bias"))
      tensor.zero_();
    else
      nn::FillNormal(tensor, config_.init_std, seed, spec.name);
  }
}

void Model::Bind(const native::NamedTensors& parameters) {
  if (config_.attention_dropout > 0)
    throw std::invalid_argument(
        "config.json: attention_dropout = " + std::to_string(config_.attention_dropout) +
        " is not supported in training; set it to 0");
  embedding_ = nn::RequireTensor(parameters, kEmbedding, {config_.vocabulary, config_.width});
  final_norm_ = nn::RequireTensor(parameters, kFinalNorm, {config_.width});
  head_ = options_.linears->Make(HeadSpec(), parameters);
  layers_.clear();
  for (int64_t i = 0; i < config_.layers; i++) {
    auto layer = std::make_unique<TrainLayer>();
    layer->input_norm = nn::RequireTensor(parameters, Name(i, "input_layernorm.weight"), {config_.width});
    layer->post_norm = nn::RequireTensor(parameters, Name(i, "post_attention_layernorm.weight"), {config_.width});
    if (config_.head_norm) {
      layer->q_norm = nn::RequireTensor(parameters, Name(i, "self_attn.q_norm.weight"), {config_.head_dim});
      layer->k_norm = nn::RequireTensor(parameters, Name(i, "self_attn.k_norm.weight"), {config_.head_dim});
    }
    for (Product p : {kQuery, kKey, kValue, kOutput, kGate, kUp, kDown})
      layer->products[p] = options_.linears->Make(Spec(i, p), parameters);
    layers_.push_back(std::move(layer));
  }
}

std::unique_ptr<native::TrainContext> Model::Begin(const native::Batch& batch) {
  if (layers_.empty()) throw std::logic_error("Begin before Bind");
  std::vector<nn::SegmentRange> segments;
  for (const native::Segment& s : batch.segments) segments.push_back({s.begin, s.end, s.parent});
  const auto dtype = embedding_.scalar_type();
  return std::make_unique<Context>(
      nn::SegmentAttention(segments, batch.tokens.size(0), dtype, embedding_.device()),
      rotary_.Rows(batch.positions, dtype));
}

at::Tensor Model::Embed(const native::Batch& batch, native::TrainContext&) {
  return nn::Embedding(embedding_, batch.tokens);
}

at::Tensor Model::TrainAttention(const TrainLayer& layer, const at::Tensor& x,
                                 native::TrainContext& ctx) const {
  auto& context = static_cast<Context&>(ctx);
  const auto heads = [&](Product p, int64_t count) {
    return layer.products[p]->Forward(x).view({-1, count, config_.head_dim});
  };
  at::Tensor q = heads(kQuery, config_.heads), k = heads(kKey, config_.kv_heads);
  const at::Tensor v = heads(kValue, config_.kv_heads);
  if (config_.head_norm) {
    q = nn::RmsNorm(q, layer.q_norm, config_.eps);
    k = nn::RmsNorm(k, layer.k_norm, config_.eps);
  }
  q = nn::ApplyRotary(q, context.rotary);
  k = nn::ApplyRotary(k, context.rotary);
  return layer.products[kOutput]->Forward(context.attention.Attend(q, k, v, AttentionScale()));
}

at::Tensor Model::Block(int64_t block, const at::Tensor& x, native::TrainContext& ctx) {
  const TrainLayer& layer = *layers_.at(block);
  const at::Tensor mid = x + TrainAttention(layer, nn::RmsNorm(x, layer.input_norm, config_.eps), ctx);
  const at::Tensor h = nn::RmsNorm(mid, layer.post_norm, config_.eps);
  const at::Tensor gated = nn::SiluGate(layer.products[kGate]->Forward(h), layer.products[kUp]->Forward(h));
  return mid + layer.products[kDown]->Forward(gated);
}

at::Tensor Model::Final(const at::Tensor& x) {
  return nn::RmsNorm(x, final_norm_, config_.eps);
}

at::Tensor Model::Logits(const at::Tensor& hidden) {
  return head_->Forward(hidden);
}

}  // namespace volery::qwen
