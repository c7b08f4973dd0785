#include "time_mix.h"

#include <ATen/ATen.h>

#include "names.h"
#include "volery/nn/activation.h"
#include "volery/nn/norm.h"

namespace volery::rwkv {
namespace {

// What the scan reads, and the gate.
struct Mixed {
  nn::WkvInputs in;
  at::Tensor gate;
};

Mixed MixEagle(const LayerTensors& l, LayerOps& ops, const at::Tensor& z) {
  const auto s = ops.Shift(Half::kAttention, z, {{l.mix_r, {}}, {l.mix_k, {}}, {l.mix_v, {}}, {l.mix_g, {}}}, false);
  return {{ops.Multiply(kReceptance, s[0]), ops.Multiply(kKey, s[1]), ops.Multiply(kValue, s[2]), l.decay, l.bonus},
          ops.Multiply(kGate, s[3])};
}

// Data-dependent mixes and decay (equations 11 to 16).
Mixed MixFinch(const Config& c, const LayerTensors& l, LayerOps& ops, const at::Tensor& z) {
  const at::Tensor x = ops.Shift(Half::kAttention, z, {{l.mix_x, {}}}, true)[0];
  const at::Tensor down = nn::Tanh(ops.Multiply(kMixDown, x));
  const auto m = [&](Product p) { return ops.Multiply(p, down.narrow(1, (p - kMixW) * c.mix_rank, c.mix_rank)); };
  const auto s = ops.Shift(Half::kAttention, z,
                           {{l.mix_w, m(kMixW)},
                            {l.mix_k, m(kMixK)},
                            {l.mix_v, m(kMixV)},
                            {l.mix_r, m(kMixR)},
                            {l.mix_g, m(kMixG)}},
                           false);
  const at::Tensor decay = ops.Multiply(kDecayUp, nn::Tanh(ops.Multiply(kDecayDown, s[0])));
  return {{ops.Multiply(kReceptance, s[3]), ops.Multiply(kKey, s[1]), ops.Multiply(kValue, s[2]), decay, l.bonus},
          ops.Multiply(kGate, s[4])};
}

}  // namespace

nn::LinearSpec SpecOf(const Config& c, int64_t layer, Product product) {
  const int64_t d = c.width;
  const auto matrix = [&](const char* name, int64_t in, int64_t out) {
    return nn::LinearSpec{LayerName(layer, name), "", in, out};
  };
  const auto low_rank = [&](const char* name, int64_t in, int64_t out) {
    nn::LinearSpec spec = matrix(name, in, out);
    spec.transposed = true;
    return spec;
  };
  switch (product) {
    case kReceptance:
      return matrix("attention.receptance.weight", d, d);
    case kKey:
      return matrix("attention.key.weight", d, d);
    case kValue:
      return matrix("attention.value.weight", d, d);
    case kGate:
      return matrix("attention.gate.weight", d, d);
    case kOutput:
      return matrix("attention.output.weight", d, d);
    case kFfnKey:
      return matrix("feed_forward.key.weight", d, c.ffn_width);
    case kFfnReceptance:
      return matrix("feed_forward.receptance.weight", d, d);
    case kFfnValue:
      return matrix("feed_forward.value.weight", c.ffn_width, d);
    case kMixDown:
      return low_rank("attention.time_maa_w1", d, 5 * c.mix_rank);
    case kDecayDown:
      return low_rank("attention.time_decay_w1", d, c.decay_rank);
    case kDecayUp: {
      nn::LinearSpec spec = low_rank("attention.time_decay_w2", c.decay_rank, d);
      spec.bias = LayerName(layer, "attention.time_decay");
      return spec;
    }
    default: {
      nn::LinearSpec spec = low_rank("attention.time_maa_w2", c.mix_rank, d);
      spec.parts = 5;
      spec.part = product - kMixW;
      return spec;
    }
  }
}

at::Tensor RunLayer(const Config& c, const LayerTensors& l, LayerOps& ops, const at::Tensor& x) {
  const at::Tensor z = nn::LayerNorm(x, l.ln1_weight, l.ln1_bias, c.eps);
  const Mixed mixed = c.finch() ? MixFinch(c, l, ops, z) : MixEagle(l, ops, z);
  const at::Tensor y = nn::GroupNorm(ops.Scan(mixed.in), c.heads(), l.ln_x_weight, l.ln_x_bias,
                                     c.eps * c.head_size_divisor * c.head_size_divisor);
  const at::Tensor mid = x + ops.Multiply(kOutput, nn::SiluGate(mixed.gate, y));
  const at::Tensor z2 = nn::LayerNorm(mid, l.ln2_weight, l.ln2_bias, c.eps);
  const auto s = ops.Shift(Half::kFeedForward, z2, {{l.ffn_mix_k, {}}, {l.ffn_mix_r, {}}}, false);
  const at::Tensor key = nn::SquaredRelu(ops.Multiply(kFfnKey, s[0]));
  return mid + nn::SigmoidGate(ops.Multiply(kFfnReceptance, s[1]), ops.Multiply(kFfnValue, key));
}

}  // namespace volery::rwkv
