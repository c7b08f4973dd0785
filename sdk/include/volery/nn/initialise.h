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

// U(-bound, bound).
VOLERY_NN_EXPORT void FillUniform(at::Tensor& tensor, double bound, uint64_t seed, const std::string& name);
// gain times a random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al., arXiv
// 1312.6120): the Q of a normal matrix's QR decomposition, its signs those of R's diagonal. Two dimensions.
VOLERY_NN_EXPORT void FillOrthogonal(at::Tensor& tensor, double gain, uint64_t seed, const std::string& name);

}  // namespace volery::nn
