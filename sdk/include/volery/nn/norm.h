#pragma once
// Root-mean-square norm as Hugging Face's Qwen and Llama compute it: statistics in float32 (float64 for
// float64 input), y = round(x / sqrt(mean(x^2) + eps)) * weight, both roundings in x's dtype. One kernel
// serves training and sampling.

#include <ATen/core/Tensor.h>

#include "volery/nn/export.h"

namespace volery::nn {

// Over the last dimension of x; weight [width] in x's dtype. Differentiable in x and weight; contiguous
// result.
VOLERY_NN_EXPORT at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// For sampling, no autograd: norms `heads` vectors of the weight's width in each row of `rows` [R, any], from
// column `offset` on, in place.
VOLERY_NN_EXPORT void RmsNormHeadsInPlace(const at::Tensor& rows, int64_t offset, int64_t heads,
                                          const at::Tensor& weight, double eps);

}  // namespace volery::nn
