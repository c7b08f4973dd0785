#include "layers.h"

#include <ATen/ATen.h>

#include "tensors.h"
#include "volery/nn/activation.h"
#include "volery/nn/norm.h"

namespace volery::goldfinch {
namespace {

constexpr double kUnitEps = 1e-8;

// The streams of the layers with time_maa_w1: their order there.
const std::vector<const char*> kFinchStreams = {"w", "k", "v", "r", "g"},
                               kFinchC2Streams = {"r", "k", "v", "w", "v2"},
                               kGptAlphaStreams = {"r", "k", "v"};

class Taker {
 public:
  Taker(const Config& c, const Source& source, int64_t layer) : c_(c), source_(source), layer_(layer) {}

  Norm TakeNorm(const std::string& name) const {
    return {source_.tensor(Full(name) + ".weight", {c_.width}),
            source_.tensor(Full(name) + ".bias", {c_.width})};
  }
  at::Tensor Mix(const std::string& name) const { return source_.tensor(Full(name), {1, 1, c_.width}); }
  Product Matrix(const std::string& name, int64_t in, int64_t out) const {
    return source_.product({Full(name) + ".weight", "", in, out});
  }
  Products Fused(const std::vector<const char*>& names, int64_t in, int64_t out) const {
    std::vector<nn::LinearSpec> specs;
    for (const char* name : names) specs.push_back({Full(name) + ".weight", "", in, out});
    return source_.products(specs);
  }
  Product Square(const std::string& name) const { return Matrix(name, c_.width, c_.width); }
  LowRank TakeLowRank(const std::string& name, int64_t rank, const std::string& bias = "") const {
    return {source_.product({Full(name + "_w1"), "", c_.width, rank, true}),
            source_.product({Full(name + "_w2"), bias.empty() ? "" : Full(bias), rank, c_.width, true})};
  }
  Product Down(const std::string& name, int64_t parts) const {
    return source_.product({Full(name), "", c_.width, parts * c_.mix_rank, true});
  }
  Product Up(const std::string& name, int64_t parts, int64_t part) const {
    return source_.product({Full(name), "", c_.mix_rank, c_.width, true, parts, part});
  }
  MixWeights TakeMix(const std::vector<const char*>& streams) const {
    MixWeights out;
    const int64_t parts = static_cast<int64_t>(streams.size());
    out.mix_x = Mix("att.time_maa_x");
    out.down = Down("att.time_maa_w1", parts);
    for (int64_t j = 0; j < parts; j++) {
      out.mix.push_back(Mix(std::string("att.time_maa_") + streams[j]));
      out.up.push_back(Up("att.time_maa_w2", parts, j));
    }
    return out;
  }

  FinchWeights Finch(bool c2) const {
    FinchWeights w;
    w.mix = TakeMix(c2 ? kFinchC2Streams : kFinchStreams);
    w.decay = TakeLowRank("att.time_decay", c_.decay_rank, "att.time_decay");
    if (c2) w.value2 = TakeLowRank("att.time_value2", c_.decay_rank);
    w.bonus = source_.tensor(Full("att.time_faaaa"), {c_.heads(), c_.head_size});
    w.receptance = Square("att.receptance");
    w.key = Square("att.key");
    w.value = Square("att.value");
    if (!c2) w.gate = Square("att.gate");
    w.output = Square("att.output");
    w.out = TakeNorm("att.ln_x");
    return w;
  }
  GoldWeights Gold() const {
    GoldWeights w;
    w.mix_x = Mix("att.time_maa_x");
    w.mix_q = Mix("att.time_maa_q");
    w.mix_cache = Mix("att.time_maa_v_cache");
    w.mix_k = Mix("att.time_maa_k");
    w.mix_v = Mix("att.time_maa_v");
    w.query_mix = TakeLowRank("att.time_maa_q", c_.mix_rank);
    w.mix_down = Down("att.time_maa_kv_w1", 2);
    w.mix_up_k = Up("att.time_maa_kv_w2", 2, 0);
    w.mix_up_v = Up("att.time_maa_kv_w2", 2, 1);
    w.key_more = TakeLowRank("att.time_key", c_.gold_rank);
    w.value_more = TakeLowRank("att.time_value", c_.gold_rank);
    w.query = Square("att.query");
    w.output = Square("att.output");
    w.q = TakeNorm("att.ln_q");
    w.k = TakeNorm("att.ln_k");
    w.v = TakeNorm("att.ln_v");
    w.out = TakeNorm("att.ln_x");
    return w;
  }
  GptAlphaWeights GptAlpha() const {
    return {TakeMix(kGptAlphaStreams), Square("att.query"),  Square("att.key"),
            Square("att.value"),       Square("att.output"), TakeNorm("att.ln_r"),
            TakeNorm("att.ln_k"),      TakeNorm("att.ln_v"), TakeNorm("att.ln_x")};
  }
  ChannelWeights Channel() const {
    ChannelWeights w;
    if (c_.channel == ChannelMix::kLlama) {
      w.gate_up = Fused({"ffn.w1", "ffn.w3"}, c_.width, c_.ffn_width);
      w.down = Matrix("ffn.w2", c_.ffn_width, c_.width);
      return w;
    }
    w.mix_k = Mix("ffn.time_maa_k");
    w.mix_r = Mix("ffn.time_maa_r");
    w.key = Matrix("ffn.key", c_.width, c_.ffn_width);
    w.receptance = Square("ffn.receptance");
    w.value = Matrix("ffn.value", c_.ffn_width, c_.width);
    return w;
  }

 private:
  std::string Full(const std::string& name) const { return layer_ < 0 ? name : BlockName(layer_, name); }
  const Config& c_;
  const Source& source_;
  int64_t layer_;
};

at::Tensor Apply(const LowRank& w, const at::Tensor& x) {
  return w.up(nn::Tanh(w.down(x)));
}

// The streams of z (equations 4 to 6), the first `count` of them.
std::vector<at::Tensor> Streams(const MixWeights& w, size_t count, int64_t layer, const at::Tensor& z,
                                LayerOps& ops) {
  const at::Tensor h = nn::Tanh(w.down(ops.Mix(Shift::kTime, layer, z, {{w.mix_x, {}}}, true)[0]));
  const int64_t rank = h.size(1) / static_cast<int64_t>(w.up.size());
  std::vector<nn::MixStream> streams;
  for (size_t j = 0; j < count; j++)
    streams.push_back({w.mix[j], w.up[j](h.narrow(1, static_cast<int64_t>(j) * rank, rank))});
  return ops.Mix(Shift::kTime, layer, z, streams, false);
}

// Finch: arXiv 2404.05892, equations 14 to 20.
at::Tensor TimeMixFinch(const Config& c, const FinchWeights& w, int64_t layer, const at::Tensor& z,
                        LayerOps& ops) {
  const auto x = Streams(w.mix, 5, layer, z, ops);  // w, k, v, r, g
  const at::Tensor y =
      ops.Scan(layer, {w.receptance(x[3]), w.key(x[1]), w.value(x[2]), Apply(w.decay, x[0]), w.bonus, false});
  const at::Tensor normed = nn::GroupNorm(y, c.heads(), w.out.weight, w.out.bias, c.head_norm_eps);
  return w.output(nn::SiluGate(w.gate(x[4]), normed));
}

// Equations 4 to 13. Without the second value Finch's bonus stands in for it. Both values in one product: the
// matrix is read once.
at::Tensor TimeMixFinchC2(const Config& c, const FinchWeights& w, int64_t layer, const at::Tensor& z,
                          LayerOps& ops) {
  const auto x = Streams(w.mix, c.second_value ? 5 : 4, layer, z, ops);  // r, k, v, w, v2
  const int64_t rows = z.size(0);
  const at::Tensor values = w.value(c.second_value ? at::cat({x[2], x[4]}) : x[2]);
  at::Tensor y =
      ops.Scan(layer, {w.receptance(x[0]), w.key(x[1]), values.narrow(0, 0, rows), Apply(w.decay, x[3]),
                       c.second_value ? at::Tensor() : w.bonus, c.scale_key});
  if (c.second_value) y = y + (values.narrow(0, rows, rows) + Apply(w.value2, x[4]));
  return w.output(Normed(w.out, y, c));
}

// Equations 16 to 21.
at::Tensor TimeMixGold(const Config& c, const Layer& layer, const at::Tensor& z, const GoldRows& rows,
                       LayerOps& ops) {
  const auto& w = std::get<GoldWeights>(layer.time);
  const at::Tensor m = Apply(w.query_mix, ops.Mix(Shift::kTime, layer.index, z, {{w.mix_x, {}}}, true)[0]);
  const at::Tensor q = w.query(ops.Mix(Shift::kTime, layer.index, z, {{w.mix_q, m}}, false)[0]);
  const at::Tensor y = ops.AttendGold(layer, Rotated(c, Normed(w.q, q, c), ops.query_rotary), rows);
  return w.output(Normed(w.out, y, c));
}

// Equations 26 to 29.
at::Tensor TimeMixGptAlpha(const Config& c, const GptAlphaWeights& w, int64_t layer, const at::Tensor& z,
                           LayerOps& ops) {
  const auto x = Streams(w.mix, 3, layer, z, ops);  // r (queries), k, v
  const at::Tensor q = Rotated(c, Normed(w.q, w.query(x[0]), c), ops.query_rotary);
  const at::Tensor k = Rotated(c, Normed(w.k, w.key(x[1]), c), ops.key_rotary);
  const at::Tensor y = ops.Attend(layer, q, k, Normed(w.v, w.value(x[2]), c));
  return w.output(Normed(w.out, y, c));
}

at::Tensor TimeMixLlama(const Config& c, const LlamaWeights& w, int64_t layer, const at::Tensor& z,
                        LayerOps& ops) {
  const std::vector<at::Tensor> qkv = w.query_key_value(z);
  const at::Tensor q = Rotated(c, qkv[0], ops.query_rotary), k = Rotated(c, qkv[1], ops.key_rotary);
  return w.output(ops.Attend(layer, q, k, qkv[2]));
}

at::Tensor TimeMixOf(const Config& c, const Layer& layer, const at::Tensor& z, const GoldRows& rows,
                     LayerOps& ops) {
  switch (c.Kind(layer.index)) {
    case TimeMix::kFinch:
      return TimeMixFinch(c, std::get<FinchWeights>(layer.time), layer.index, z, ops);
    case TimeMix::kFinchC2:
      return TimeMixFinchC2(c, std::get<FinchWeights>(layer.time), layer.index, z, ops);
    case TimeMix::kGold:
      return TimeMixGold(c, layer, z, rows, ops);
    case TimeMix::kGptAlpha:
      return TimeMixGptAlpha(c, std::get<GptAlphaWeights>(layer.time), layer.index, z, ops);
    default:
      return TimeMixLlama(c, std::get<LlamaWeights>(layer.time), layer.index, z, ops);
  }
}

// Equations 22 to 25.
at::Tensor ChannelMixOf(const Config& c, const Layer& layer, const at::Tensor& z, LayerOps& ops) {
  const ChannelWeights& w = layer.channel;
  if (c.channel == ChannelMix::kLlama) {
    const std::vector<at::Tensor> gate_up = w.gate_up(z);
    return w.down(nn::SiluGate(gate_up[0], gate_up[1]));
  }
  const auto x = ops.Mix(Shift::kChannel, layer.index, z, {{w.mix_k, {}}, {w.mix_r, {}}}, false);
  return nn::SigmoidGate(w.receptance(x[1]), w.value(nn::SquaredRelu(w.key(x[0]))));
}

}  // namespace

std::vector<at::Tensor> Products::operator()(const at::Tensor& x) const {
  std::vector<at::Tensor> out;
  for (const auto& product : trained) out.push_back(product->Forward(x));
  if (!packed) return out;
  const at::Tensor all = packed->Forward(x);
  int64_t begin = 0;
  for (int64_t width : widths) {
    out.push_back(all.narrow(1, begin, width));
    begin += width;
  }
  return out;
}

Product Source::product(const nn::LinearSpec& spec) const {
  Products one = products({spec});
  return {one.trained.empty() ? nullptr : std::move(one.trained[0]), std::move(one.packed)};
}

Layer TakeLayer(const Config& c, int64_t index, const Source& source) {
  const Taker take(c, source, index);
  Layer out;
  out.index = index;
  out.before_time = take.TakeNorm("ln1");
  out.before_channel = take.TakeNorm("ln2");
  switch (c.Kind(index)) {
    case TimeMix::kFinch:
      out.time = take.Finch(false);
      break;
    case TimeMix::kFinchC2:
      out.time = take.Finch(true);
      break;
    case TimeMix::kGold:
      out.time = take.Gold();
      break;
    case TimeMix::kGptAlpha:
      out.time = take.GptAlpha();
      break;
    case TimeMix::kLlama:
      out.time =
          LlamaWeights{take.Fused({"att.wq", "att.wk", "att.wv"}, c.width, c.width), take.Square("att.wo")};
  }
  out.channel = take.Channel();
  return out;
}

nn::LinearSpec HeadSpec(const Config& c) {
  return {"head.weight", "", c.width, c.vocabulary};
}

Ends TakeEnds(const Config& c, const Source& source) {
  const Taker take(c, source, -1);
  Ends out;
  out.embedded = take.TakeNorm("blocks.0.ln0");
  out.last = take.TakeNorm("ln_out");
  out.head = source.product(HeadSpec(c));
  if (c.gold()) {
    out.compress = take.Matrix("w_kv_cache_a", c.width, c.compressed);
    if (!source.cut) {
      out.expand = take.Matrix("w_kv_cache_b", c.width + c.compressed, c.width);
      return out;
    }
    std::vector<Product> parts =
        source.cut({"w_kv_cache_b.weight", "", c.width + c.compressed, c.width}, {c.width, c.compressed});
    out.expand_token = std::move(parts[0]);
    out.expand_compressed = std::move(parts[1]);
  }
  return out;
}

at::Tensor LayerOps::AttendGold(const Layer& layer, const at::Tensor& q, const GoldRows& rows) {
  const KeysValues all = GoldKeysValues(config, layer, rows, key_rotary, *this);
  return Attend(layer.index, q, all.k, all.v);
}

GoldPairs GoldPairsOf(const Config& c, const Layer& layer, const at::Tensor& embedded, const MixRows& mix) {
  const auto& w = std::get<GoldWeights>(layer.time);
  const at::Tensor h = nn::Tanh(w.mix_down(mix(embedded, {w.mix_cache, {}})));
  at::Tensor v = mix(embedded, {w.mix_v, w.mix_up_v(h.narrow(1, c.mix_rank, c.mix_rank))});
  v = v + Apply(w.value_more, v);
  return {h.narrow(1, 0, c.mix_rank), Normed(w.v, v, c)};
}

at::Tensor GoldKeys(const Config& c, const Layer& layer, const at::Tensor& proto_keys,
                    const at::Tensor& key_mix, const nn::RotaryRows& rotary, const MixRows& mix) {
  const auto& w = std::get<GoldWeights>(layer.time);
  at::Tensor k = mix(proto_keys, {w.mix_k, w.mix_up_k(key_mix)});
  k = k + Apply(w.key_more, k);
  return Rotated(c, Normed(w.k, k, c), rotary);
}

KeysValues GoldKeysValues(const Config& c, const Layer& layer, const GoldRows& rows,
                          const nn::RotaryRows& rotary, LayerOps& ops) {
  const auto with = [&](Shift shift) {
    return [&ops, &layer, shift](const at::Tensor& z, const nn::MixStream& stream) {
      return ops.Mix(shift, layer.index, z, {stream}, true)[0];
    };
  };
  const GoldPairs pairs = GoldPairsOf(c, layer, rows.embedded, with(Shift::kEmbedding));
  return {GoldKeys(c, layer, rows.proto_keys, pairs.key_mix, rotary, with(Shift::kProtoKey)), pairs.v};
}

at::Tensor RunLayer(const Config& c, const Layer& layer, const at::Tensor& x, const GoldRows& gold,
                    LayerOps& ops) {
  const at::Tensor mid = x + TimeMixOf(c, layer, Normed(layer.before_time, x, c), gold, ops);
  return mid + ChannelMixOf(c, layer, Normed(layer.before_channel, mid, c), ops);
}

at::Tensor Normed(const Norm& norm, const at::Tensor& x, const Config& c) {
  return nn::LayerNorm(x, norm.weight, norm.bias, c.eps);
}

at::Tensor UnitEmbedding(const at::Tensor& x0) {
  return nn::RmsUnit(x0, kUnitEps);
}

at::Tensor ProtoKeys(const Ends& ends, const at::Tensor& x0, const at::Tensor& compressed) {
  if (ends.cut()) return ProtoKeysOfParts(ends, TokenPart(ends, x0), compressed);
  return nn::RmsUnit(ends.expand(at::cat({x0, compressed}, 1)), kUnitEps);
}

at::Tensor TokenPart(const Ends& ends, const at::Tensor& x0) {
  return ends.expand_token(x0.to(at::kFloat));
}

at::Tensor ProtoKeysOfParts(const Ends& ends, const at::Tensor& token, const at::Tensor& compressed) {
  const at::Tensor expanded = token + ends.expand_compressed(compressed.to(at::kFloat));
  return nn::RmsUnit(expanded.to(compressed.scalar_type()), kUnitEps);
}

at::Tensor Rotated(const Config& c, const at::Tensor& x, const nn::RotaryRows& rows) {
  if (!rows.cos.defined()) return x;
  const at::Tensor pairs = x.view({x.size(0), c.heads(), c.head_size / 2, 2});
  const at::Tensor halves = pairs.transpose(2, 3).reshape({x.size(0), c.heads(), c.head_size});
  return nn::ApplyRotary(halves, rows).reshape({x.size(0), c.width});
}

}  // namespace volery::goldfinch
