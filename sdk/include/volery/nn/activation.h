#pragma once
// The gated unit of Llama-like feed-forward layers.

#include <ATen/core/Tensor.h>

#include "volery/nn/export.h"

namespace volery::nn {

// silu(gate) * up, differentiable; both [R, width].
VOLERY_NN_EXPORT at::Tensor SiluGate(const at::Tensor& gate, const at::Tensor& up);
// For sampling, no autograd: the same from one fused row [R, 2 * width] = gate, up.
VOLERY_NN_EXPORT at::Tensor SiluGateFused(const at::Tensor& gate_up);

}  // namespace volery::nn
