#include "core/training/head.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>

#include "volery/nn/softmax.h"

namespace volery::training {
namespace {

// Targets of one slice of rows.
struct Slice {
  int64_t first_row = 0, rows = 0;
  std::span<const int32_t> targets;    // indices into MicroBatch::targets
  std::vector<int64_t> row, token;     // of each target, the row within the slice
  std::span<const float> temperature;  // of each row; empty: all 1
};

std::vector<int32_t> TargetsByRow(const data::MicroBatch& batch) {
  std::vector<int32_t> order(batch.targets.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return batch.targets[static_cast<size_t>(a)].row < batch.targets[static_cast<size_t>(b)].row;
  });
  return order;
}

Slice MakeSlice(const data::MicroBatch& batch, std::span<const int32_t> targets, int64_t first_row,
                int64_t rows) {
  Slice slice{first_row, rows, targets, {}, {}, {}};
  for (int32_t index : targets) {
    const data::PackedTarget& target = batch.targets[static_cast<size_t>(index)];
    slice.row.push_back(target.row - first_row);
    slice.token.push_back(target.token);
  }
  const auto temperature =
      std::span(batch.temperatures).subspan(static_cast<size_t>(first_row), static_cast<size_t>(rows));
  if (std::any_of(temperature.begin(), temperature.end(), [](float t) { return t != 1; }))
    slice.temperature = temperature;
  return slice;
}

double TemperatureOf(const Slice& slice, int64_t row) {
  return slice.temperature.empty() ? 1 : static_cast<double>(slice.temperature[static_cast<size_t>(row)]);
}

at::Tensor LongTensor(const std::vector<int64_t>& values, const at::Tensor& like) {
  return at::tensor(values, at::kLong).to(like.device());
}

// l and H of the slice's targets, in its order.
void Read(const at::Tensor& logits, const std::vector<nn::RowSoftmax>& rows, const Slice& slice,
          std::vector<double>& logprob, std::vector<double>& entropy) {
  const at::Tensor at_targets = logits.detach()
                                    .index({LongTensor(slice.row, logits), LongTensor(slice.token, logits)})
                                    .to(at::kCPU, at::kDouble)
                                    .contiguous();
  const double* x = at_targets.const_data_ptr<double>();
  logprob.resize(slice.targets.size());
  entropy.resize(slice.targets.size());
  for (size_t i = 0; i < logprob.size(); ++i) {
    const nn::RowSoftmax& row = rows[static_cast<size_t>(slice.row[i])];
    logprob[i] = x[i] / TemperatureOf(slice, slice.row[i]) - row.log_partition;
    entropy[i] = row.entropy;
  }
}

// Turns the slice's logits into dL/dlogits, from the gradients of the slice's targets.
void ToGradient(at::Tensor& logits, int64_t vocabulary, const std::vector<nn::RowSoftmax>& rows,
                const Slice& slice, std::span<const double> gradient_logprob,
                std::span<const double> gradient_entropy) {
  std::vector<nn::RowGradient> sums(rows.size());
  std::vector<double> own(slice.targets.size());
  for (size_t i = 0; i < own.size(); ++i) {
    nn::RowGradient& sum = sums[static_cast<size_t>(slice.row[i])];
    sum.log_prob += gradient_logprob[i];
    sum.entropy += gradient_entropy[i];
    own[i] = gradient_logprob[i] / TemperatureOf(slice, slice.row[i]);
  }
  nn::SoftmaxGradientInPlace(logits, vocabulary, slice.temperature, rows, sums);
  logits.index_put_({LongTensor(slice.row, logits), LongTensor(slice.token, logits)},
                    at::tensor(own, at::kDouble).to(logits.device(), logits.scalar_type()),
                    /*accumulate=*/true);
}

// Visits consecutive slices of at most `slice_rows` rows.
template <class Visit>
void ForEachSlice(const data::MicroBatch& batch, int64_t slice_rows, Visit visit) {
  const std::vector<int32_t> order = TargetsByRow(batch);
  const auto rows = static_cast<int64_t>(batch.rows.size());
  size_t begin = 0;
  for (int64_t first = 0; first < rows; first += slice_rows) {
    const int64_t count = std::min(slice_rows, rows - first);
    size_t end = begin;
    while (end < order.size() && batch.targets[static_cast<size_t>(order[end])].row < first + count) ++end;
    visit(MakeSlice(batch, std::span(order).subspan(begin, end - begin), first, count));
    begin = end;
  }
}

}  // namespace

Head::Head(native::Model& model, const HeadOptions& options) : model_(model), options_(options) {}

int64_t HeadSliceRows(int64_t asked, int64_t vocabulary_rows) {
  if (asked > 0) return asked;
  // Just below 32 MiB, from where malloc maps (and the kernel clears) every allocation anew.
  constexpr int64_t kLogits = (int64_t{30} << 20) / sizeof(float);
  return std::clamp<int64_t>(kLogits / vocabulary_rows, 16, 4096);
}

void Head::Evaluate(const at::Tensor& hidden, const data::MicroBatch& batch, std::vector<double>& logprob,
                    std::vector<double>& entropy, std::vector<uint8_t>* likeliest) const {
  const at::NoGradGuard no_grad;
  logprob.assign(batch.targets.size(), 0);
  entropy.assign(batch.targets.size(), 0);
  if (likeliest != nullptr) likeliest->assign(batch.targets.size(), 0);
  std::vector<double> l, h;
  ForEachSlice(batch, HeadSliceRows(options_.slice_rows, model_.info().vocabulary), [&](const Slice& slice) {
    const at::Tensor logits = model_.Logits(hidden.narrow(0, slice.first_row, slice.rows));
    Read(logits, nn::SoftmaxRows(logits, options_.vocabulary, slice.temperature), slice, l, h);
    for (size_t i = 0; i < slice.targets.size(); ++i) {
      logprob[static_cast<size_t>(slice.targets[i])] = l[i];
      entropy[static_cast<size_t>(slice.targets[i])] = h[i];
    }
    if (likeliest == nullptr) return;
    const at::Tensor best = logits.narrow(1, 0, options_.vocabulary).argmax(1).cpu();
    const int64_t* token = best.const_data_ptr<int64_t>();
    for (size_t i = 0; i < slice.targets.size(); ++i)
      (*likeliest)[static_cast<size_t>(slice.targets[i])] = token[slice.row[i]] == slice.token[i] ? 1 : 0;
  });
}

at::Tensor Head::Backward(const at::Tensor& hidden, const data::MicroBatch& batch,
                          const TargetGradient& gradient, double l2wrap) const {
  at::Tensor hidden_gradient = at::empty_like(hidden);
  std::vector<double> l, h, gradient_l, gradient_h;
  ForEachSlice(batch, HeadSliceRows(options_.slice_rows, model_.info().vocabulary), [&](const Slice& slice) {
    at::Tensor input = hidden.narrow(0, slice.first_row, slice.rows).detach().requires_grad_();
    const at::Tensor logits = model_.Logits(input);
    at::Tensor gradient_of_logits =
        logits.detach();  // the same memory: the products' backward doesn't need the logits
    {
      const at::NoGradGuard no_grad;
      const std::vector<nn::RowSoftmax> rows =
          nn::SoftmaxRows(logits, options_.vocabulary, slice.temperature);
      Read(logits, rows, slice, l, h);
      gradient_l.assign(l.size(), 0);
      gradient_h.assign(l.size(), 0);
      gradient(slice.targets, l, h, gradient_l, gradient_h);
      at::Tensor largest, place;
      if (l2wrap > 0)
        std::tie(largest, place) = logits.detach().narrow(1, 0, options_.vocabulary).max(1, true);
      ToGradient(gradient_of_logits, options_.vocabulary, rows, slice, gradient_l, gradient_h);
      if (l2wrap > 0) gradient_of_logits.scatter_add_(1, place, largest * l2wrap);
    }
    torch::autograd::backward({logits}, {gradient_of_logits});
    const at::NoGradGuard no_grad;
    hidden_gradient.narrow(0, slice.first_row, slice.rows).copy_(input.grad());
  });
  return hidden_gradient;
}

}  // namespace volery::training
