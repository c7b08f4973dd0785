#pragma once
// One layer of Eagle or Finch (arXiv 2404.05892, sections 3 and 4), written once for training and sampling:
// what differs between the two, products, token shift and scan, stands behind LayerOps.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "config.h"
#include "volery/native/model.h"
#include "volery/nn/linear.h"
#include "volery/nn/token_shift.h"
#include "volery/nn/wkv.h"

namespace volery::rwkv {

// kMixW .. kMixG follow the order of time_maa_w2: w, k, v, r, g.
enum Product {
  kReceptance,
  kKey,
  kValue,
  kGate,
  kOutput,
  kFfnKey,
  kFfnReceptance,
  kFfnValue,
  kEagleProducts,  // Eagle has the ones above
  kMixDown = kEagleProducts,
  kMixW,
  kMixK,
  kMixV,
  kMixR,
  kMixG,
  kDecayDown,
  kDecayUp,
  kFinchProducts
};
inline int Products(const Config& config) {
  return config.finch() ? kFinchProducts : kEagleProducts;
}
nn::LinearSpec SpecOf(const Config& config, int64_t layer, Product product);

// The tensors of a layer that are no matrices: parameters, or copies of a version.
struct LayerTensors {
  at::Tensor ln0_weight, ln0_bias;  // of the first layer
  at::Tensor ln1_weight, ln1_bias, ln2_weight, ln2_bias, ln_x_weight, ln_x_bias;
  at::Tensor mix_x, mix_w, mix_k, mix_v, mix_r, mix_g;  // x and w: Finch
  at::Tensor ffn_mix_k, ffn_mix_r;
  at::Tensor decay;  // Eagle's; Finch's is the bias of kDecayUp
  at::Tensor bonus;  // time_faaaa
  at::Tensor time_state;
};
// take(name, shape) gives a tensor of the layer by its name within it.
template <class Take>
LayerTensors TakeLayer(const Config& c, int64_t layer, const Take& take);

enum class Half { kAttention, kFeedForward };  // each with a token shift of its own

class LayerOps {
 public:
  virtual ~LayerOps() = default;
  virtual at::Tensor Multiply(Product product, const at::Tensor& x) = 0;
  // `again`: the same rows are mixed once more after this.
  virtual std::vector<at::Tensor> Shift(Half half, const at::Tensor& z,
                                        const std::vector<nn::MixStream>& streams, bool again) = 0;
  virtual at::Tensor Scan(const nn::WkvInputs& in) = 0;
};

// x [R, W] -> [R, W].
at::Tensor RunLayer(const Config& config, const LayerTensors& layer, LayerOps& ops, const at::Tensor& x);

template <class Take>
LayerTensors TakeLayer(const Config& c, int64_t index, const Take& take) {
  const std::vector<int64_t> row = {c.width}, mix = {1, 1, c.width}, heads = {c.heads(), c.head_size};
  LayerTensors out;
  if (index == 0) {
    out.ln0_weight = take("pre_ln.weight", row);
    out.ln0_bias = take("pre_ln.bias", row);
  }
  out.ln1_weight = take("ln1.weight", row);
  out.ln1_bias = take("ln1.bias", row);
  out.ln2_weight = take("ln2.weight", row);
  out.ln2_bias = take("ln2.bias", row);
  out.ln_x_weight = take("attention.ln_x.weight", row);
  out.ln_x_bias = take("attention.ln_x.bias", row);
  out.bonus = take("attention.time_faaaa", heads);
  if (c.time_state) out.time_state = take("attention.time_state", {c.heads(), c.head_size, c.head_size});
  if (c.finch()) {
    out.mix_x = take("attention.time_maa_x", mix);
    out.mix_w = take("attention.time_maa_w", mix);
    out.mix_k = take("attention.time_maa_k", mix);
    out.mix_v = take("attention.time_maa_v", mix);
    out.mix_r = take("attention.time_maa_r", mix);
    out.mix_g = take("attention.time_maa_g", mix);
    out.ffn_mix_k = take("feed_forward.time_maa_k", mix);
    out.ffn_mix_r = take("feed_forward.time_maa_r", mix);
  } else {
    out.mix_k = take("attention.time_mix_key", mix);
    out.mix_v = take("attention.time_mix_value", mix);
    out.mix_r = take("attention.time_mix_receptance", mix);
    out.mix_g = take("attention.time_mix_gate", mix);
    out.decay = take("attention.time_decay", heads);
    out.ffn_mix_k = take("feed_forward.time_mix_key", mix);
    out.ffn_mix_r = take("feed_forward.time_mix_receptance", mix);
  }
  return out;
}

}  // namespace volery::rwkv
