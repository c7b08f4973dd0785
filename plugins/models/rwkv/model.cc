#include "model.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "initialise.h"
#include "names.h"
#include "volery/nn/embedding.h"
#include "volery/nn/norm.h"
#include "volery/nn/slot_states.h"

namespace volery::rwkv {

struct Model::TrainLayer {
  LayerTensors tensors;
  std::vector<std::unique_ptr<nn::Linear>> products;
};

// A segment's state, flat: of each layer the shift row of the time mix [W], the state [heads, N, N], the shift
// row of the channel mix [W].
class Model::Context final : public native::TrainContext {
 public:
  Context(const Config& c, const std::vector<nn::SegmentRange>& segments, const native::Batch& batch)
      : shift(segments, batch.tokens.size(0)),
        wkv(segments, batch.tokens.size(0)),
        keep_final(batch.keep_final),
        segments_(segments),
        width_(c.width),
        heads_(c.heads()),
        n_(c.head_size) {
    for (const at::Tensor& initial : batch.initial) any_initial_ |= initial.defined();
    if (any_initial_) initial_ = batch.initial;
    const int64_t size = LayerSize() * c.layers;
    for (size_t i = 0; i < initial_.size(); i++)
      if (initial_[i].defined() && (initial_[i].numel() != size || segments[i].parent >= 0))
        throw std::invalid_argument("the state that segment " + std::to_string(i) + " goes on from has " +
                                    std::to_string(initial_[i].numel()) + " elements; " + std::to_string(size) +
                                    " are needed, of a segment without a parent");
    if (keep_final) final_.resize(c.layers * 3);
  }

  at::Tensor FinalState(int64_t segment) const override {
    if (!keep_final) return {};
    std::vector<at::Tensor> parts;
    for (const at::Tensor& part : final_) parts.push_back(part.select(0, segment).reshape({-1}).to(at::kFloat));
    return at::cat(parts);
  }

  // [segments, W], or undefined: all zeros.
  at::Tensor InitialRow(int64_t layer, Half half) const {
    if (!any_initial_) return {};
    const int64_t at = layer * LayerSize() + (half == Half::kAttention ? 0 : width_ + heads_ * n_ * n_);
    return Stack(at, {width_}, at::zeros({width_}));
  }
  // [segments, heads, N, N], or undefined: all zeros. `learned` [heads, N key, N value] or undefined.
  at::Tensor InitialState(int64_t layer, const at::Tensor& learned) const {
    const int64_t count = static_cast<int64_t>(segments_.size());
    if (!any_initial_)
      return learned.defined() ? learned.unsqueeze(0).expand({count, heads_, n_, n_}) : at::Tensor();
    return Stack(layer * LayerSize() + width_, {heads_, n_, n_},
                 learned.defined() ? learned : at::zeros({heads_, n_, n_}));
  }
  void Keep(int64_t layer, int part, const at::Tensor& value) { final_[layer * 3 + part] = value; }
  // The last row of each segment.
  at::Tensor LastRows(const at::Tensor& z) const {
    std::vector<at::Tensor> rows;
    for (const nn::SegmentRange& s : segments_) rows.push_back(z.detach().select(0, s.end - 1));
    return at::stack(rows);
  }

  nn::TokenShift shift;
  nn::WkvSegments wkv;
  bool keep_final;

 private:
  int64_t LayerSize() const { return 2 * width_ + heads_ * n_ * n_; }
  at::Tensor Stack(int64_t at, at::IntArrayRef shape, const at::Tensor& otherwise) const {
    const int64_t size = c10::multiply_integers(shape);
    std::vector<at::Tensor> out;
    for (const at::Tensor& initial : initial_)
      out.push_back(initial.defined() ? initial.view({-1}).narrow(0, at, size).view(shape).to(otherwise.device())
                                      : otherwise);
    return at::stack(out);
  }

  std::vector<nn::SegmentRange> segments_;
  std::vector<at::Tensor> initial_, final_;
  bool any_initial_ = false;
  int64_t width_, heads_, n_;
};

class Model::TrainOps final : public LayerOps {
 public:
  TrainOps(const Config& c, const TrainLayer& layer, int64_t index, Context& ctx)
      : config_(c), layer_(layer), index_(index), ctx_(ctx) {}

  at::Tensor Multiply(Product product, const at::Tensor& x) override {
    return layer_.products[product]->Forward(x);
  }
  std::vector<at::Tensor> Shift(Half half, const at::Tensor& z, const std::vector<nn::MixStream>& streams,
                                bool) override {
    if (ctx_.keep_final) ctx_.Keep(index_, half == Half::kAttention ? 0 : 2, ctx_.LastRows(z));
    return ctx_.shift.Mix(z, streams, config_.finch() ? nn::MuOf::kBefore : nn::MuOf::kCurrent,
                          ctx_.InitialRow(index_, half));
  }
  at::Tensor Scan(const nn::WkvInputs& in) override {
    const at::Tensor& learned = layer_.tensors.time_state;
    const at::Tensor initial =
        ctx_.InitialState(index_, learned.defined() ? learned.transpose(1, 2) : learned);
    at::Tensor final;
    const at::Tensor y = ctx_.wkv.Scan(in, config_.heads(), initial, ctx_.keep_final ? &final : nullptr);
    if (ctx_.keep_final) ctx_.Keep(index_, 1, final);
    return y;
  }

 private:
  const Config& config_;
  const TrainLayer& layer_;
  const int64_t index_;
  Context& ctx_;
};

Model::Model(const std::string& config_json, const native::BuildOptions& options)
    : config_(ParseConfig(config_json)), config_json_(config_json), options_(options) {
  native::RefuseOptions(options);
  if (!options_.linears) {
    own_linears_ = nn::MakeLinearFactory();
    options_.linears = own_linears_.get();
  }
  info_.family = config_.family();
  info_.layers = config_.layers;
  info_.width = config_.width;
  info_.vocabulary = config_.vocabulary;
  info_.context = config_.context;
  info_.stop_ids = config_.stop_ids;
  info_.saved_elements = SavedElements();
  info_.recurrent = true;
  for (const Entry& entry : ListEntries(config_)) {
    parameters_.push_back({FullName(entry), entry.shape, entry.weight_decay, entry.lr_scale});
    info_.parameters += c10::multiply_integers(entry.shape);
  }
}

Model::~Model() = default;

// Both halves' input and norm; the mixed rows; r, k, v, gate, what the scan and its norm give and what the gate
// lets through; the channel mix's two rows, its key before and after the square, its gate and value. In Finch
// also the first mix, the five mixes and what shifts them, decays, and the low-rank rows before and after tanh.
int64_t Model::SavedElements() const {
  const int64_t d = config_.width, common = 4 * d + 7 * d + 4 * d + 2 * config_.ffn_width + 2 * config_.heads() + 4;
  if (!config_.finch()) return common + 4 * d;
  return common + 12 * d + 10 * config_.mix_rank + 2 * config_.decay_rank;
}

native::StateSpec Model::state_spec(c10::ScalarType sampler_dtype) const {
  const int64_t states = config_.layers * config_.width * config_.head_size * 4,
                rows = 2 * config_.layers * config_.width * static_cast<int64_t>(c10::elementSize(sampler_dtype));
  return {states + rows, 0, true, "states and shift rows of " + std::to_string(config_.layers) + " layers"};
}

void Model::Initialise(native::NamedTensors& parameters, uint64_t seed) const {
  for (const native::TensorSpec& spec : parameters_) nn::RequireTensor(parameters, spec.name, spec.shape);
  rwkv::Initialise(config_, parameters, seed);
}

void Model::Bind(const native::NamedTensors& parameters) {
  const std::string final = kFinalNorm;
  embedding_ = nn::RequireTensor(parameters, kEmbedding, {config_.vocabulary, config_.width});
  final_weight_ = nn::RequireTensor(parameters, final + ".weight", {config_.width});
  final_bias_ = nn::RequireTensor(parameters, final + ".bias", {config_.width});
  head_ = options_.linears->Make({kHead, "", config_.width, config_.vocabulary}, parameters);
  layers_.clear();
  for (int64_t i = 0; i < config_.layers; i++) {
    auto layer = std::make_unique<TrainLayer>();
    layer->tensors = TakeLayer(config_, i, [&](const char* name, const std::vector<int64_t>& shape) {
      return nn::RequireTensor(parameters, LayerName(i, name), shape);
    });
    for (int p = 0; p < Products(config_); p++)
      layer->products.push_back(options_.linears->Make(SpecOf(config_, i, static_cast<Product>(p)), parameters));
    layers_.push_back(std::move(layer));
  }
}

std::unique_ptr<native::TrainContext> Model::Begin(const native::Batch& batch) {
  if (layers_.empty()) throw std::logic_error("Begin before Bind");
  std::vector<nn::SegmentRange> segments;
  for (const native::Segment& s : batch.segments) segments.push_back({s.begin, s.end, s.parent});
  return std::make_unique<Context>(config_, segments, batch);
}

at::Tensor Model::Embed(const native::Batch& batch, native::TrainContext&) {
  const LayerTensors& first = layers_.front()->tensors;
  return nn::LayerNorm(nn::Embedding(embedding_, batch.tokens), first.ln0_weight, first.ln0_bias, config_.eps);
}

at::Tensor Model::Block(int64_t block, const at::Tensor& x, native::TrainContext& ctx) {
  const TrainLayer& layer = *layers_.at(block);
  TrainOps ops(config_, layer, block, static_cast<Context&>(ctx));
  return RunLayer(config_, layer.tensors, ops, x);
}

at::Tensor Model::Final(const at::Tensor& x) {
  return nn::LayerNorm(x, final_weight_, final_bias_, config_.eps);
}

at::Tensor Model::Logits(const at::Tensor& hidden) {
  return head_->Forward(hidden);
}

}  // namespace volery::rwkv
