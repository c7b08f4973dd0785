#include "volery/nn/rotary.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numbers>
#include <stdexcept>

#include "parallel.h"

namespace volery::nn {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

double Llama3Frequency(const RotarySpec& spec, double frequency) {
  const double wave = kTwoPi / frequency;
  if (wave < spec.original_context / spec.high_freq_factor) return frequency;
  if (wave > spec.original_context / spec.low_freq_factor) return frequency / spec.factor;
  const double smooth =
      (spec.original_context / wave - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor);
  return (1 - smooth) * frequency / spec.factor + smooth * frequency;
}

// The dimension that turns `rotations` times within the original context.
double YarnDimension(const RotarySpec& spec, double rotations) {
  return static_cast<double>(spec.head_dim) * std::log(spec.original_context / (rotations * kTwoPi)) /
         (2 * std::log(spec.theta));
}

void YarnScale(const RotarySpec& spec, std::vector<double>& frequencies) {
  double low = YarnDimension(spec, spec.beta_fast), high = YarnDimension(spec, spec.beta_slow);
  if (spec.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(spec.head_dim - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); i++) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / spec.factor * ramp + frequencies[i] * (1 - ramp);
  }
}

double YarnMagnitude(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

// [count, n] cosines and sines times `magnitude`; the angle is a float32 product, as the reference rounds it.
template <class T>
void FillTables(const std::vector<float>& frequencies, double magnitude, at::Tensor& cos, at::Tensor& sin) {
  const int64_t count = cos.size(0), n = static_cast<int64_t>(frequencies.size());
  T *c = cos.data_ptr<T>(), *s = sin.data_ptr<T>();
  ParallelRows(count, n * 40, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      for (int64_t i = 0; i < n; i++) {
        const double angle = static_cast<T>(p) * static_cast<T>(frequencies[i]);
        c[p * n + i] = static_cast<T>(static_cast<T>(std::cos(angle)) * magnitude);
        s[p * n + i] = static_cast<T>(static_cast<T>(std::sin(angle)) * magnitude);
      }
    }
  });
}

void RotateByKernel(const at::Tensor& x, const at::Tensor& out, int64_t heads, int64_t width,
                    const RotaryRows& rows, bool inverse) {
  const kernels::Table& table = TableFor(ElementOf(x));
  const int64_t half = width / 2;
  const float *cos = rows.cos.data_ptr<float>(), *sin = rows.sin.data_ptr<float>();
  ParallelRows(x.size(0), heads * width, [&](int64_t begin, int64_t end) {
    table.rotate({At(x, begin * x.stride(0)), At(out, begin * out.stride(0)), x.stride(0), out.stride(0),
                  end - begin, width},
                 heads, cos + begin * half, sin + begin * half, inverse);
  });
}

at::Tensor RotateByAten(const at::Tensor& x, const RotaryRows& rows, bool inverse) {
  const auto halves = x.to(rows.cos.scalar_type()).chunk(2, -1);
  const at::Tensor c = rows.cos.unsqueeze(1),
                   s = inverse ? rows.sin.unsqueeze(1).neg() : rows.sin.unsqueeze(1);
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1).to(x.scalar_type());
}

at::Tensor Rotate(const at::Tensor& x, const RotaryRows& rows, bool inverse) {
  if (!HasKernels(x)) return RotateByAten(x, rows, inverse);
  at::Tensor out = at::empty(x.sizes(), x.options());
  RotateByKernel(x, out, x.size(1), x.size(2), rows, inverse);
  return out;
}

// The backward of a rotation is the rotation by the negative angle.
struct RotaryFunction : torch::autograd::Function<RotaryFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return Rotate(x, {cos, sin}, false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {Rotate(grads[0].contiguous(), {saved[0], saved[1]}, true), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::vector<float> InverseFrequencies(const RotarySpec& spec) {
  std::vector<double> frequencies(spec.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); i++)
    frequencies[i] = std::pow(spec.theta, -2.0 * static_cast<double>(i) / static_cast<double>(spec.head_dim));
  switch (spec.kind) {
    case RotarySpec::Kind::kDefault:
      break;
    case RotarySpec::Kind::kLinear:
      for (double& f : frequencies) f /= spec.factor;
      break;
    case RotarySpec::Kind::kLlama3:
      for (double& f : frequencies) f = Llama3Frequency(spec, f);
      break;
    case RotarySpec::Kind::kYarn:
      YarnScale(spec, frequencies);
      break;
  }
  return {frequencies.begin(), frequencies.end()};
}

double AttentionFactor(const RotarySpec& spec) {
  if (spec.kind != RotarySpec::Kind::kYarn) return 1;
  if (spec.attention_factor > 0) return spec.attention_factor;
  if (spec.mscale != 0 && spec.mscale_all_dim != 0)
    return YarnMagnitude(spec.factor, spec.mscale) / YarnMagnitude(spec.factor, spec.mscale_all_dim);
  return YarnMagnitude(spec.factor, 1);
}

struct Rotary::Tables {
  std::vector<float> frequencies;
  double magnitude = 1;
  std::mutex mutex;
  RotaryRows single, wide;  // float32, float64

  RotaryRows AtLeast(int64_t count, at::ScalarType dtype) {
    const std::lock_guard lock(mutex);
    RotaryRows& rows = dtype == at::kDouble ? wide : single;
    if (!rows.cos.defined() || rows.cos.size(0) < count) {
      const int64_t size = std::max<int64_t>({256, count, rows.cos.defined() ? rows.cos.size(0) * 2 : 0});
      const auto options = at::TensorOptions().dtype(dtype);
      RotaryRows grown{at::empty({size, static_cast<int64_t>(frequencies.size())}, options),
                       at::empty({size, static_cast<int64_t>(frequencies.size())}, options)};
      if (dtype == at::kDouble)
        FillTables<double>(frequencies, magnitude, grown.cos, grown.sin);
      else
        FillTables<float>(frequencies, magnitude, grown.cos, grown.sin);
      rows = grown;
    }
    return rows;
  }
};

Rotary::Rotary(const RotarySpec& spec) : tables_(std::make_unique<Tables>()) {
  tables_->frequencies = InverseFrequencies(spec);
  tables_->magnitude = AttentionFactor(spec);
}
Rotary::~Rotary() = default;

RotaryRows Rotary::Rows(const at::Tensor& positions, at::ScalarType dtype) const {
  const at::Tensor host = positions.to(at::kCPU);
  if (host.numel() > 0 && host.min().item<int64_t>() < 0)
    throw std::invalid_argument("rotary: a position is negative");
  const int64_t count = host.numel() == 0 ? 1 : host.max().item<int64_t>() + 1;
  const RotaryRows table = tables_->AtLeast(count, dtype == at::kDouble ? at::kDouble : at::kFloat);
  return {table.cos.index_select(0, host).to(positions.device()),
          table.sin.index_select(0, host).to(positions.device())};
}

at::Tensor ApplyRotary(const at::Tensor& x, const RotaryRows& rows) {
  TORCH_CHECK(x.dim() == 3 && x.size(0) == rows.cos.size(0) && x.size(2) == 2 * rows.cos.size(1),
              "ApplyRotary: x ", x.sizes(), ", table ", rows.cos.sizes());
  const at::Tensor input = x.contiguous();
  if (at::GradMode::is_enabled() && x.requires_grad())
    return RotaryFunction::apply(input, rows.cos, rows.sin);
  return Rotate(input, rows, false);
}

void ApplyRotaryInPlace(const at::Tensor& x, int64_t heads, int64_t head_dim, const RotaryRows& rows) {
  TORCH_CHECK(
      x.dim() == 2 && x.stride(1) == 1 && x.size(1) >= heads * head_dim && x.size(0) == rows.cos.size(0),
      "ApplyRotaryInPlace: x ", x.sizes(), ", table ", rows.cos.sizes());
  if (HasKernels(x)) return RotateByKernel(x, x, heads, head_dim, rows, false);
  at::Tensor view = x.narrow(1, 0, heads * head_dim).view({x.size(0), heads, head_dim});
  view.copy_(RotateByAten(view, rows, false));
}

}  // namespace volery::nn
