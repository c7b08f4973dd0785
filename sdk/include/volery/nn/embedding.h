#pragma once
// Rows of an embedding table.

#include <ATen/core/Tensor.h>

#include "volery/nn/export.h"

namespace volery::nn {

// weight [V, W], tokens [T] int64 in [0, V) -> [T, W]. Differentiable in weight; where weight has a gradient
// already, Backward adds the rows to it in place, token after token, and never makes a table of its own.
VOLERY_NN_EXPORT at::Tensor Embedding(const at::Tensor& weight, const at::Tensor& tokens);

}  // namespace volery::nn
