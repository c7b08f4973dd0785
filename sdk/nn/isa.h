#pragma once
// Which kernels run on this machine. VOLERY_ISA = plain | avx2 | avx512 forces a level (an unsupported one is
// refused by std::runtime_error at first use).

#include <ATen/core/Tensor.h>

#include "kernels/kernels.h"

namespace volery::nn {

const kernels::Table& TableFor(kernels::Element element);
// True when the kernels take this tensor: on the CPU, float32 or bfloat16.
bool HasKernels(const at::Tensor& tensor);
kernels::Element ElementOf(const at::Tensor& tensor);

}  // namespace volery::nn
