#include "volery/nn/initialise.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "tensors.h"

namespace volery::goldfinch {
namespace {

double Share(const Parameter& p, int64_t j, int64_t count) {
  return 1 - (std::pow(static_cast<double>(j) / static_cast<double>(count), p.power) + p.lift);
}

double Along(int64_t n, int64_t count) {
  return count > 1 ? static_cast<double>(n) / static_cast<double>(count - 1) : 0;
}

double ValueAt(const Parameter& p, int64_t n, int64_t count) {
  switch (p.initial) {
    case Initial::kMix:
      return Share(p, n, count);
    case Initial::kDecay:
      return -6 + 5 * std::pow(Along(n, count), p.power);
    default:
      return p.lift * (1 - Along(n, count)) + 0.1 * static_cast<double>((n + 1) % 3 - 1);
  }
}

}  // namespace

void Fill(const Parameter& p, at::Tensor& tensor, uint64_t seed) {
  const at::NoGradGuard no_grad;
  switch (p.initial) {
    case Initial::kZeros:
      tensor.zero_();
      return;
    case Initial::kOnes:
      tensor.fill_(1);
      return;
    case Initial::kConstant:
      tensor.fill_(p.value);
      return;
    case Initial::kUniform:
      nn::FillUniform(tensor, p.value, seed, p.spec.name);
      return;
    case Initial::kOrthogonal:
      nn::FillOrthogonal(tensor, p.value, seed, p.spec.name);
      return;
    default: {
      std::vector<double> values;
      const int64_t count = tensor.numel();
      for (int64_t n = 0; n < count; n++) values.push_back(ValueAt(p, n, count));
      tensor.copy_(at::tensor(values, at::kDouble).view(tensor.sizes()));
    }
  }
}

}  // namespace volery::goldfinch
