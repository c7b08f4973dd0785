#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "model.h"
#include "volery/nn/embedding.h"
#include "volery/nn/segment_attention.h"
#include "volery/nn/token_shift.h"
#include "volery/nn/wkv.h"

namespace volery::goldfinch {
namespace {

std::vector<nn::SegmentRange> RangesOf(const native::Batch& batch) {
  std::vector<nn::SegmentRange> out;
  for (const native::Segment& s : batch.segments) out.push_back({s.begin, s.end, s.parent});
  return out;
}

// A segment's state as one float32 tensor: of each layer the row of its time mixer, that of its channel mixer
// where it has one, and the recurrence.
struct FlatState {
  explicit FlatState(const Config& c)
      : width(c.width), channel(c.channel == ChannelMix::kRwkv), wkv(c.width * c.head_size) {}
  int64_t width;
  bool channel;
  int64_t wkv;

  int64_t layer() const { return (channel ? 2 : 1) * width + wkv; }
  int64_t Time(int64_t i) const { return i * layer(); }
  int64_t Channel(int64_t i) const { return i * layer() + width; }
  int64_t Wkv(int64_t i) const { return (i + 1) * layer() - wkv; }
};

}  // namespace

class Model::Context final : public native::TrainContext, public LayerOps {
 public:
  Context(const Config& c, const native::Batch& batch, at::ScalarType dtype, at::Device device)
      : LayerOps(c),
        tokens(batch.tokens),
        segments_(batch.segments),
        dtype_(dtype),
        shift_(RangesOf(batch), batch.tokens.size(0)),
        scan_(RangesOf(batch), batch.tokens.size(0)),
        attention_(RangesOf(batch), batch.tokens.size(0), dtype, device),
        flat_(c),
        initial_(Initial(batch, device)) {
    if (batch.keep_final)
      finals_ = at::empty({static_cast<int64_t>(segments_.size()), c.layers * flat_.layer()},
                          at::dtype(at::kFloat).device(device));
  }

  std::vector<at::Tensor> Mix(Shift shift, int64_t layer, const at::Tensor& z,
                              const std::vector<nn::MixStream>& streams, bool again) override {
    const bool kept = (shift == Shift::kTime || shift == Shift::kChannel);
    at::Tensor initial;
    if (kept) {
      const int64_t offset = shift == Shift::kTime ? flat_.Time(layer) : flat_.Channel(layer);
      if (initial_.defined()) initial = initial_.narrow(1, offset, config.width).to(dtype_);
      if (finals_.defined() && !again) KeepRows(z, offset);
    }
    return shift_.Mix(z, streams, nn::MuOf::kBefore, initial);
  }

  at::Tensor Scan(int64_t layer, const nn::WkvInputs& in) override {
    const int64_t heads = config.heads(), n = config.head_size;
    at::Tensor initial, final;
    if (initial_.defined())
      initial = initial_.narrow(1, flat_.Wkv(layer), flat_.wkv).reshape({-1, heads, n, n});
    if (initial.defined() && dtype_ == at::kDouble) initial = initial.to(at::kDouble);
    at::Tensor y = scan_.Scan(in, heads, initial, finals_.defined() ? &final : nullptr);
    if (finals_.defined())
      finals_.narrow(1, flat_.Wkv(layer), flat_.wkv).copy_(final.reshape({-1, flat_.wkv}));
    return y;
  }

  at::Tensor Attend(int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const auto heads = [&](const at::Tensor& x) { return x.view({-1, config.heads(), config.head_size}); };
    return attention_.Attend(heads(q), heads(k), heads(v),
                             1 / std::sqrt(static_cast<double>(config.head_size)));
  }

  at::Tensor FinalState(int64_t segment) const override {
    return finals_.defined() ? finals_.select(0, segment).clone() : at::Tensor();
  }

  const at::Tensor tokens;

 private:
  // [segments, state], zeros where a segment starts a text; undefined: all do.
  at::Tensor Initial(const native::Batch& batch, at::Device device) const {
    at::Tensor out;
    const int64_t count = static_cast<int64_t>(batch.segments.size()), size = config.layers * flat_.layer();
    const bool recurrent = !Attends(config.lower) && !Attends(config.upper);
    if (!recurrent && batch.keep_final)
      throw std::invalid_argument(config.family +
                                  " has layers with attention: training can't go on from a state");
    for (size_t i = 0; i < batch.initial.size(); i++) {
      if (!batch.initial[i].defined()) continue;
      if (!recurrent)
        throw std::invalid_argument(config.family +
                                    " has layers with attention: training can't go on from a state");
      if (i >= batch.segments.size() || batch.segments[i].parent >= 0 || batch.initial[i].numel() != size)
        throw std::invalid_argument("the state that segment " + std::to_string(i) + " goes on from has " +
                                    std::to_string(batch.initial[i].numel()) +
                                    " values, for a segment without a parent " + std::to_string(size) +
                                    " are needed");
      if (!out.defined()) out = at::zeros({count, size}, at::dtype(at::kFloat).device(device));
      out.select(0, static_cast<int64_t>(i)).copy_(batch.initial[i].view({-1}));
    }
    return out;
  }

  void KeepRows(const at::Tensor& z, int64_t offset) {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < segments_.size(); i++)
      finals_.select(0, static_cast<int64_t>(i))
          .narrow(0, offset, config.width)
          .copy_(z.select(0, segments_[i].end - 1));
  }

  const std::vector<native::Segment> segments_;
  const at::ScalarType dtype_;
  const nn::TokenShift shift_;
  const nn::WkvSegments scan_;
  const nn::SegmentAttention attention_;
  const FlatState flat_;
  const at::Tensor initial_;
  at::Tensor finals_;  // [segments, state]; undefined: not asked for
};

void Model::Bind(const native::NamedTensors& parameters) {
  CheckTensors(parameters, parameters_);
  const Source source{
      [&](const std::string& name, at::IntArrayRef shape) { return nn::RequireTensor(parameters, name, shape); },
      [&](const std::vector<nn::LinearSpec>& specs) {
        Products out;
        for (const nn::LinearSpec& spec : specs)
          out.trained.push_back(options_.linears->Make(spec, parameters));
        return out;
      }};
  auto trained = std::make_unique<Trained>();
  trained->embedding = nn::RequireTensor(parameters, "emb.weight", {config_.vocabulary, config_.width});
  trained->ends = TakeEnds(config_, source);
  for (int64_t i = 0; i < config_.layers; i++) trained->layers.push_back(TakeLayer(config_, i, source));
  trained_ = std::move(trained);
}

std::unique_ptr<native::TrainContext> Model::Begin(const native::Batch& batch) {
  if (!trained_) throw std::logic_error("Begin before Bind");
  const at::ScalarType dtype = trained_->embedding.scalar_type();
  auto context = std::make_unique<Context>(config_, batch, dtype, trained_->embedding.device());
  if (rotary_) {
    const int64_t largest = batch.positions.numel() > 0 ? batch.positions.max().item<int64_t>() : 0;
    context->query_rotary = context->key_rotary = RotaryOf(batch.positions, largest, dtype);
  }
  return context;
}

at::Tensor Model::Embed(const native::Batch& batch, native::TrainContext&) {
  return Normed(trained_->ends.embedded, nn::Embedding(trained_->embedding, batch.tokens), config_);
}

at::Tensor Model::Block(int64_t block, const at::Tensor& x, native::TrainContext& ctx) {
  auto& context = static_cast<Context&>(ctx);
  const Layer& layer = trained_->layers.at(block);
  const bool gold = config_.Kind(block) == TimeMix::kGold, last = block + 1 == config_.layers;
  const bool before_gold = !last && config_.Kind(block + 1) == TimeMix::kGold;
  if (!gold && !before_gold) return RunLayer(config_, layer, x, {}, context);
  // The embeddings are read again instead of carried along: the gradient goes to the table at once.
  const at::Tensor x0 =
      Normed(trained_->ends.embedded, nn::Embedding(trained_->embedding, context.tokens), config_);
  if (!gold) {
    const at::Tensor y = RunLayer(config_, layer, x, {}, context);
    return at::cat({y, ProtoKeys(trained_->ends, x0, trained_->ends.compress(y))}, 1);
  }
  const at::Tensor keys = x.narrow(1, config_.width, config_.width);
  const at::Tensor y =
      RunLayer(config_, layer, x.narrow(1, 0, config_.width), {UnitEmbedding(x0), keys}, context);
  return last ? y : at::cat({y, keys}, 1);
}

at::Tensor Model::Final(const at::Tensor& x) {
  return Normed(trained_->ends.last, x, config_);
}

at::Tensor Model::Logits(const at::Tensor& hidden) {
  return trained_->ends.head(hidden);
}

Model::~Model() = default;

}  // namespace volery::goldfinch
