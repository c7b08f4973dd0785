#pragma once
// Where a backward function adds a weight's gradient: to the one that is there already, in place, so that no
// second tensor of the weight's size is made and the cuts of a batch leave no trace.

#include <ATen/ATen.h>

#include "parallel.h"

namespace volery::nn {

struct WeightGradient {
  // The tensor to add to: weight.grad itself, or zeros, of StatisticsType.
  at::Tensor sum;
  // What the backward function returns for the weight: undefined where `sum` is weight.grad.
  at::Tensor Returned(const at::Tensor& weight) const {
    return held ? at::Tensor() : sum.to(weight.scalar_type());
  }
  bool held = false;
};

// A held gradient of another dtype, or with gaps, is left to autograd to add to. (The host gives a bfloat16
// weight a float32 gradient.)
inline WeightGradient GradientOf(const at::Tensor& weight) {
  const at::ScalarType dtype = StatisticsType(weight);
  const at::Tensor& held = weight.grad();
  if (held.defined() && held.is_contiguous() && held.scalar_type() == dtype) return {held, true};
  return {at::zeros(weight.sizes(), weight.options().dtype(dtype).requires_grad(false)), false};
}

}  // namespace volery::nn
