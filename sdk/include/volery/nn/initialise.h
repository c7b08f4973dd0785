#pragma once
// Random initial weights as a pure function of a seed and a name, the same for any order of tensors and any
// thread count.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "volery/nn/export.h"

namespace volery::nn {

// Fills a contiguous CPU or device tensor of a floating dtype with N(0, std^2).
VOLERY_NN_EXPORT void FillNormal(at::Tensor& tensor, double std, uint64_t seed, const std::string& name);

}  // namespace volery::nn
