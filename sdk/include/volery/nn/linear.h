#pragma once
// Matrix products for model plugins: every product with a weight goes through an nn::Linear (training,
// autograd) or an nn::PackedLinear (sampling) that the host's LinearFactory makes, so that adapters, packing
// and dtype are the host's business. y = x W^T + b, W [out, in] as Hugging Face stores it.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

using NamedTensors = std::map<std::string, at::Tensor>;
// tensors[name] of this shape. Throws std::invalid_argument that names what is wrong.
VOLERY_NN_EXPORT at::Tensor RequireTensor(const NamedTensors& tensors, const std::string& name,
                                          at::IntArrayRef shape);

struct VOLERY_NN_EXPORT LinearSpec {
  std::string weight;  // name of W, [out, in]
  std::string bias;    // name of b, `out` elements; empty: none
  int64_t in = 0, out = 0;
  bool transposed = false;  // the file holds W^T, [in, out] (RWKV's low-rank matrices)
  // Above 0: the file holds this many matrices in one tensor, [parts, ...], and W is number `part` of them.
  int64_t parts = 0, part = 0;

  std::vector<int64_t> shape() const;  // of the file's tensor
};

// Training: differentiable in x, W and b. One thread.
class Linear {
 public:
  virtual ~Linear() = default;
  virtual at::Tensor Forward(const at::Tensor& x) const = 0;  // [R, in] -> [R, out]
};

// Sampling: weights packed once a version, several projections of one input fused along `out`. Immutable,
// thread-safe.
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  virtual at::Tensor Forward(const at::Tensor& x) const = 0;  // [R, in] -> [R, sum of out], x's dtype
  // Rows of the weights as they were packed, [R, in], in their dtype: the embedding, where the head is tied
  // to it. rows [R] int64 in [0, sum of out).
  virtual at::Tensor WeightRows(const at::Tensor& rows) const = 0;
  virtual int64_t bytes() const = 0;
};

class LinearFactory {
 public:
  virtual ~LinearFactory() = default;
  virtual std::unique_ptr<Linear> Make(const LinearSpec& spec, const NamedTensors& parameters) = 0;
  // Copies the weights. Throws std::invalid_argument when a tensor is missing or has another shape.
  virtual std::unique_ptr<PackedLinear> Pack(const std::vector<LinearSpec>& fused,
                                             const NamedTensors& weights) const = 0;
};

// Whether this processor multiplies bfloat16 natively (AVX-512-BF16).
VOLERY_NN_EXPORT bool HasBfloat16Dots();
// nn's own products sum over `in` in blocks of this many, each from zero, added in order: products of the parts of a
// row that are cut at such a border, the later one block at most, add up to the bits of the whole (in float32).
constexpr int64_t kSumBlock = 128;

// On a CPU nn's own products, in float32 and with bfloat16 weights (widened exactly; the arithmetic is
// float32). A row's result depends on that row and the weights only, and training and sampling have the same
// bits. Where W has a gradient of float32 already, Backward adds to it in place, row after row, so that the
// parts of a batch, one after the other, leave the bits of the whole. `bfloat16_dots`: training with bfloat16
// weights multiplies natively by LibTorch, which is faster and gives all that up. Other devices and dtypes by
// LibTorch.
VOLERY_NN_EXPORT std::unique_ptr<LinearFactory> MakeLinearFactory(bool bfloat16_dots = HasBfloat16Dots());
// Products by LibTorch as they are: the oracle of tests.
VOLERY_NN_EXPORT std::unique_ptr<LinearFactory> MakeAtenLinearFactory();

}  // namespace volery::nn
