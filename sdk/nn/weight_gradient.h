#pragma once
// Where a backward function adds a weight's gradient: to the one that is there already, in place, so that no
// second tensor of the weight's size is made and the cuts of a batch leave no trace.

#include <ATen/ATen.h>

namespace volery::nn {

struct WeightGradient {
  // The tensor to add to.
  at::Tensor sum;
  // What the backward function returns for the weight; undefined where `sum` is weight.grad itself.
  at::Tensor returned;
};

// `dtype` is what the function adds in; a held gradient of another dtype, or with gaps, is left to autograd
// to add to.
inline WeightGradient GradientOf(const at::Tensor& weight, at::ScalarType dtype) {
  const at::Tensor& held = weight.grad();
  if (held.defined() && held.is_contiguous() && held.scalar_type() == dtype) return {held, {}};
  const at::Tensor fresh = at::zeros(weight.sizes(), weight.options().dtype(dtype).requires_grad(false));
  return {fresh, fresh};
}

}  // namespace volery::nn
