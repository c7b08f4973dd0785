#pragma once
// Elementwise functions and the gated units of feed-forward layers. On a CPU, in float32 and bfloat16, one
// kernel with a fixed polynomial each serves training and sampling; elsewhere LibTorch's operators. All are
// differentiable once. bfloat16 is computed in float32 and rounded once; a gated unit rounds the function's
// value, then the product, as Hugging Face's models do. NaN stays NaN. The errors below are the largest that
// were measured against float64 over all exponents of float32.

#include <ATen/core/Tensor.h>

#include "volery/nn/export.h"

namespace volery::nn {

// Which GELU (Hendrycks and Gimpel, arXiv 1606.08415): x P(x), P the normal distribution function
// ("gelu" in Hugging Face's configs), or 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) ("gelu_new",
// "gelu_pytorch_tanh").
enum class GeluForm { kExact, kTanh };

// x of any shape -> the same, contiguous. Error of the value below 1.5e-7 max(1, |x|), of the slope below
// 2.5e-7.
VOLERY_NN_EXPORT at::Tensor Gelu(const at::Tensor& x, GeluForm form);
// max(x, 0)^2 (Primer, arXiv 2109.08668; RWKV's channel mix). Rounded once.
VOLERY_NN_EXPORT at::Tensor SquaredRelu(const at::Tensor& x);
// 1 / (1 + e^-x); error below 1e-7, relative error below 2e-7 down to 1e-37.
VOLERY_NN_EXPORT at::Tensor Sigmoid(const at::Tensor& x);
// Relative error below 2.5e-7, near 0 too; odd to the bit.
VOLERY_NN_EXPORT at::Tensor Tanh(const at::Tensor& x);

// f(gate) * up; both [R, width] of one dtype, else c10::Error.
VOLERY_NN_EXPORT at::Tensor SiluGate(const at::Tensor& gate, const at::Tensor& up);  // Llama, Qwen
VOLERY_NN_EXPORT at::Tensor GeluGate(const at::Tensor& gate, const at::Tensor& up, GeluForm form);  // Gemma
VOLERY_NN_EXPORT at::Tensor SigmoidGate(const at::Tensor& gate, const at::Tensor& up);  // RWKV's channel mix

// For sampling, no autograd: the same from one fused row [R, 2 * width] = gate, up; the same bits where the
// kernels run.
VOLERY_NN_EXPORT at::Tensor SiluGateFused(const at::Tensor& gate_up);
VOLERY_NN_EXPORT at::Tensor GeluGateFused(const at::Tensor& gate_up, GeluForm form);

}  // namespace volery::nn
