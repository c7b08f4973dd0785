#include "core/training/adamw.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "volery/nn/pool.h"

namespace volery::training {
namespace {

constexpr int64_t kChunk = int64_t{1} << 16;

int64_t Chunks(int64_t count) {
  return (count + kChunk - 1) / kChunk;
}

// What is the same for all elements of a range.
struct Coefficients {
  double beta1, beta2, epsilon, decay, step_size, root_correction2, gradient_scale;
};

template <class Real>
void UpdateElements(Real* __restrict value, const Real* __restrict gradient, Real* __restrict first,
                    Real* __restrict second, int64_t count, const Coefficients& c) {
  const auto beta2 = static_cast<Real>(c.beta2), keep1 = static_cast<Real>(1 - c.beta1),
             keep2 = static_cast<Real>(1 - c.beta2);
  const auto epsilon = static_cast<Real>(c.epsilon), decay = static_cast<Real>(c.decay),
             scale = static_cast<Real>(c.gradient_scale);
  const auto step_size = static_cast<Real>(c.step_size), root = static_cast<Real>(c.root_correction2);
  for (int64_t i = 0; i < count; ++i) {
    const Real g = gradient[i] * scale;
    first[i] += keep1 * (g - first[i]);
    second[i] = beta2 * second[i] + keep2 * g * g;
    value[i] = value[i] * decay - step_size * first[i] / (std::sqrt(second[i]) / root + epsilon);
  }
}

template <class Real>
void UpdateRange(const ParameterRange& range, at::Tensor masters, const at::Tensor& gradients,
                 at::Tensor first, at::Tensor second, const Coefficients& c) {
  Real* value = masters.mutable_data_ptr<Real>() + range.offset;
  const Real* gradient = gradients.const_data_ptr<Real>() + range.offset;
  Real* m = first.mutable_data_ptr<Real>() + range.offset;
  Real* v = second.mutable_data_ptr<Real>() + range.offset;
  nn::ForRows(Chunks(range.count), [&](int64_t first_chunk, int64_t end_chunk) {
    for (int64_t begin = first_chunk * kChunk; begin < std::min(range.count, end_chunk * kChunk);
         begin += kChunk) {
      const int64_t size = std::min(kChunk, range.count - begin);
      UpdateElements(value + begin, gradient + begin, m + begin, v + begin, size, c);
    }
  });
}

void UpdateByTensorOperations(const ParameterRange& range, const at::Tensor& masters,
                              const at::Tensor& gradients, const at::Tensor& first, const at::Tensor& second,
                              const Coefficients& c) {
  auto part = [&](const at::Tensor& flat) { return flat.narrow(0, range.offset, range.count); };
  const at::Tensor g = part(gradients) * c.gradient_scale;
  at::Tensor m = part(first), v = part(second);
  m.lerp_(g, 1 - c.beta1);
  v.mul_(c.beta2).addcmul_(g, g, 1 - c.beta2);
  part(masters).mul_(c.decay).addcdiv_(m, v.sqrt().div_(c.root_correction2).add_(c.epsilon), -c.step_size);
}

template <class Real>
double SumOfSquares(const at::Tensor& flat) {
  const Real* values = flat.const_data_ptr<Real>();
  const int64_t count = flat.numel(), chunks = Chunks(count);
  std::vector<double> sums(static_cast<size_t>(chunks));
  nn::ForRows(chunks, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      double sum = 0;
      for (int64_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) {
        sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
      }
      sums[static_cast<size_t>(chunk)] = sum;
    }
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace

double GlobalNorm(const at::Tensor& flat) {
  if (!flat.device().is_cpu()) return flat.norm(2, at::IntArrayRef{}, false, at::kDouble).item<double>();
  return std::sqrt(flat.scalar_type() == at::kDouble ? SumOfSquares<double>(flat)
                                                     : SumOfSquares<float>(flat));
}

AdamW::AdamW(const ParameterStore& store)
    : first_(at::zeros_like(store.masters())), second_(at::zeros_like(store.masters())) {}

void AdamW::Step(ParameterStore& store, const AdamOptions& options, double lr, double gradient_scale) {
  const at::NoGradGuard no_grad;
  ++steps_;
  const double correction1 = 1 - std::pow(options.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options.beta2, static_cast<double>(steps_));
  for (const ParameterRange& range : store.ranges()) {
    const double rate = lr * range.lr_scale;
    const double decay = range.weight_decay ? 1 - rate * options.weight_decay : 1;
    const Coefficients c{options.beta1,      options.beta2,          options.epsilon, decay,
                         rate / correction1, std::sqrt(correction2), gradient_scale};
    if (!options.fused || !first_.device().is_cpu()) {
      UpdateByTensorOperations(range, store.masters(), store.gradients(), first_, second_, c);
    } else if (first_.scalar_type() == at::kDouble) {
      UpdateRange<double>(range, store.masters(), store.gradients(), first_, second_, c);
    } else {
      UpdateRange<float>(range, store.masters(), store.gradients(), first_, second_, c);
    }
  }
  store.PublishMasters();
}

void AdamW::Reset() {
  const at::NoGradGuard no_grad;
  first_.zero_();
  second_.zero_();
  steps_ = 0;
}

}  // namespace volery::training
