#pragma once
// Matrix products on the CPU kernels (float32 arithmetic). Every output is a sum over k in one fixed order:
// it depends neither on the other rows of the call, nor on threads, nor on the instruction level.

#include <ATen/core/Tensor.h>

#include <vector>

namespace volery::nn {

// The matrices W_i [out_i, in] (float32 or bfloat16, contiguous), one under the other, as panels of 64
// outputs: [ceil(sum of out_i / 64), in, 64], zero beyond the last output.
at::Tensor PackPanels(const std::vector<at::Tensor>& weights);

// Rows of W again: index [R] int64 on the CPU -> [R, in].
at::Tensor RowsOfPanels(const at::Tensor& panels, const at::Tensor& index);

// y = x W^T. x [R, in] float32, y [R, out] float32, both contiguous.
void MultiplyPacked(const at::Tensor& x, const at::Tensor& panels, const at::Tensor& y);

// y = x W^T, W [out, in] float32 or bfloat16 as it is; the bits of MultiplyPacked.
void MultiplyTransposed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y);

// y = x W: [R, out] x [out, in] -> [R, in], W as above.
void Multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y);

// g += dy^T x over the rows in order, one chain an element begun at g: a batch cut into parts, one after the
// other, gives the bits of the whole. dy [R, out], x [R, in], g [out, in].
void AccumulateOuter(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& g);

}  // namespace volery::nn
