#pragma once
// Norms over the last dimension: one kernel each serves training and sampling, rows are independent, and
// weight gradients are added in row order to what is there. Statistics in float32 (float64 for float64
// input). Shapes or dtypes that don't fit are refused by c10::Error.

#include <ATen/core/Tensor.h>

#include "volery/nn/export.h"

namespace volery::nn {

// Root-mean-square norm (Zhang and Sennrich, arXiv 1910.07467) as Hugging Face's Qwen and Llama compute it:
// y = round(x / sqrt(mean(x^2) + eps)) * weight, both roundings in x's dtype; weight [width] in x's dtype.
// Differentiable in x and weight; contiguous result.
VOLERY_NN_EXPORT at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// y = x / (sqrt(mean(x^2)) + added), no weight (GoldFinch, arXiv 2407.12077). Differentiable; on a CPU in
// float32 and bfloat16 the slope is off by added / sqrt(mean(x^2)), relative. A row of zeros gives zeros.
VOLERY_NN_EXPORT at::Tensor RmsUnit(const at::Tensor& x, double added);

// For sampling, no autograd: norms `heads` vectors of the weight's width in each row of `rows` [R, any], from
// column `offset` on, in place.
VOLERY_NN_EXPORT void RmsNormHeadsInPlace(const at::Tensor& rows, int64_t offset, int64_t heads,
                                          const at::Tensor& weight, double eps);

// Layer norm (Ba, Kiros and Hinton, arXiv 1607.06450): y = (x - mean) / sqrt(variance + eps) * weight + bias,
// the variance that of all elements (divided by the width), rounded once to x's dtype. weight and bias
// [width] in x's dtype; an undefined bias is none. Differentiable in x, weight and bias; contiguous result.
VOLERY_NN_EXPORT at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                      double eps);

// The same over each of `groups` equal parts of a row on its own; weight and bias [groups * width]. With the
// heads as groups it is RWKV's ln_x (eps 64e-5 there), LibTorch's group_norm of [R, groups * width].
VOLERY_NN_EXPORT at::Tensor GroupNorm(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                                      const at::Tensor& bias, double eps);

}  // namespace volery::nn
