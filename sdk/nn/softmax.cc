#include "volery/nn/softmax.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>

#include "parallel.h"

namespace volery::nn {
namespace {

float TemperatureOf(std::span<const float> temperature, int64_t row) {
  return temperature.empty() ? 1.0f : temperature[row];
}

// [R, 1] of `type`.
template <class Value>
at::Tensor Column(int64_t rows, const at::Tensor& like, at::ScalarType type, const Value& value) {
  std::vector<double> values(rows);
  for (int64_t i = 0; i < rows; i++) values[i] = static_cast<double>(value(i));
  return at::tensor(values, at::kDouble).to(like.device(), type).unsqueeze(1);
}

at::Tensor Scores(const at::Tensor& logits, int64_t columns, std::span<const float> temperature) {
  at::Tensor z = logits.narrow(1, 0, columns).to(StatisticsType(logits));
  if (temperature.empty()) return z;
  return z / Column(z.size(0), z, z.scalar_type(), [&](int64_t i) { return temperature[i]; });
}

std::vector<RowSoftmax> RowsByAten(const at::Tensor& logits, int64_t columns,
                                   std::span<const float> temperature) {
  const at::Tensor z = Scores(logits, columns, temperature), highest = z.amax(1, /*keepdim=*/true);
  const at::Tensor shifted = z - highest, e = shifted.exp();
  const at::Tensor sum = e.sum({1}, false, at::kDouble), slope = (e * shifted).sum({1}, false, at::kDouble);
  const at::Tensor log_sum = sum.log();
  const at::Tensor partition = (highest.squeeze(1).to(at::kDouble) + log_sum).cpu(),
                   entropy = (log_sum - slope / sum).cpu();
  std::vector<RowSoftmax> out(logits.size(0));
  for (size_t i = 0; i < out.size(); i++)
    out[i] = {partition.const_data_ptr<double>()[i], entropy.const_data_ptr<double>()[i]};
  return out;
}

void GradientByAten(at::Tensor& logits, int64_t columns, std::span<const float> temperature,
                    std::span<const RowSoftmax> rows, std::span<const RowGradient> gradients) {
  const int64_t count = logits.size(0);
  const auto type = StatisticsType(logits);
  const auto column = [&](const auto& value) { return Column(count, logits, type, value); };
  const at::Tensor l = (Scores(logits, columns, temperature).to(at::kDouble) -
                        Column(count, logits, at::kDouble, [&](int64_t i) {
                          return rows[i].log_partition;
                        })).to(type);
  at::Tensor out = l + column([&](int64_t i) { return rows[i].entropy; });
  out.mul_(column([&](int64_t i) { return gradients[i].entropy; }));
  out.add_(column([&](int64_t i) { return gradients[i].log_prob; }));
  out.mul_(l.exp()).div_(column([&](int64_t i) { return -TemperatureOf(temperature, i); }));
  logits.narrow(1, 0, columns).copy_(out);
  logits.narrow(1, columns, logits.size(1) - columns).zero_();
}

void Check(const at::Tensor& logits, int64_t columns, std::span<const float> temperature) {
  TORCH_CHECK(logits.dim() == 2 && columns > 0 && columns <= logits.size(1) &&
                  (temperature.empty() || static_cast<int64_t>(temperature.size()) == logits.size(0)),
              "softmax rows: logits ", logits.sizes(), ", ", columns, " columns, ", temperature.size(),
              " temperatures");
}

}  // namespace

std::vector<RowSoftmax> SoftmaxRows(const at::Tensor& logits, int64_t columns,
                                    std::span<const float> temperature) {
  Check(logits, columns, temperature);
  if (!HasKernels(logits) || logits.stride(1) != 1) return RowsByAten(logits, columns, temperature);
  std::vector<RowSoftmax> out(logits.size(0));
  const kernels::Table& table = TableFor(ElementOf(logits));
  ParallelRows(logits.size(0), columns / 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const kernels::SoftmaxSums sums =
          table.softmax_sums(At(logits, i * logits.stride(0)), columns, TemperatureOf(temperature, i));
      const double log_sum = std::log(sums.sum);
      out[i] = {static_cast<double>(sums.largest) + log_sum, log_sum - sums.slope / sums.sum};
    }
  });
  return out;
}

void SoftmaxGradientInPlace(at::Tensor& logits, int64_t columns, std::span<const float> temperature,
                            std::span<const RowSoftmax> rows, std::span<const RowGradient> gradients) {
  Check(logits, columns, temperature);
  if (!HasKernels(logits) || logits.stride(1) != 1)
    return GradientByAten(logits, columns, temperature, rows, gradients);
  const kernels::Table& table = TableFor(ElementOf(logits));
  ParallelRows(logits.size(0), columns / 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const RowGradient& g = gradients[i];
      const float t = TemperatureOf(temperature, i);
      char* x = At(logits, i * logits.stride(0));
      table.softmax_gradient({x, columns, t, static_cast<float>(-(g.log_prob + g.entropy * rows[i].entropy)),
                              static_cast<float>(-g.entropy), 1 / t, rows[i].log_partition});
      std::memset(x + columns * logits.element_size(), 0, (logits.size(1) - columns) * logits.element_size());
    }
  });
}

}  // namespace volery::nn
