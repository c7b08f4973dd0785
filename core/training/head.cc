#include "core/training/head.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>

namespace volery::training {
namespace {

// Targets of one slice of rows, with tensors that index its logits.
struct SliceTargets {
  int64_t first_row = 0, rows = 0;
  std::span<const int32_t> targets;  // indices into MicroBatch::targets
  at::Tensor row, token;             // [targets] int64
  at::Tensor temperature;            // [rows, 1]; undefined: all 1
};

struct Distribution {
  at::Tensor scores;         // [rows, vocabulary]: logits / T
  at::Tensor probs;          // [rows, vocabulary]
  at::Tensor log_partition;  // [rows] float64
  at::Tensor entropy;        // [rows] float64
};

std::vector<int32_t> TargetsByRow(const data::MicroBatch& batch) {
  std::vector<int32_t> order(batch.targets.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return batch.targets[static_cast<size_t>(a)].row < batch.targets[static_cast<size_t>(b)].row;
  });
  return order;
}

at::Tensor LongTensor(const std::vector<int64_t>& values, const at::Tensor& like) {
  return at::tensor(values, at::kLong).to(like.device());
}

SliceTargets MakeSlice(const data::MicroBatch& batch, std::span<const int32_t> targets, int64_t first_row,
                       int64_t rows, const at::Tensor& hidden) {
  SliceTargets slice{first_row, rows, targets, {}, {}, {}};
  std::vector<int64_t> row, token;
  for (int32_t index : targets) {
    const data::PackedTarget& target = batch.targets[static_cast<size_t>(index)];
    row.push_back(target.row - first_row);
    token.push_back(target.token);
  }
  slice.row = LongTensor(row, hidden);
  slice.token = LongTensor(token, hidden);
  const auto begin = batch.temperatures.begin() + first_row;
  if (std::any_of(begin, begin + rows, [](float t) { return t != 1; })) {
    const std::vector<double> values(begin, begin + rows);
    const auto dtype = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    slice.temperature = at::tensor(values, at::kDouble).to(hidden.device(), dtype).unsqueeze(1);
  }
  return slice;
}

// Sums run in float64: in float32 a peaked row loses the mass of its tail, which shifts every log-prob by about 1e-5.
Distribution Normalise(const at::Tensor& logits, int64_t vocabulary, const SliceTargets& slice) {
  Distribution out;
  out.scores = logits.detach().narrow(1, 0, vocabulary);
  if (out.scores.scalar_type() != at::kDouble) out.scores = out.scores.to(at::kFloat);
  if (slice.temperature.defined()) out.scores = out.scores / slice.temperature;
  const at::Tensor highest = out.scores.amax(1, /*keepdim=*/true);
  out.probs = (out.scores - highest).exp_();
  const at::Tensor sum = out.probs.sum({1}, /*keepdim=*/true, at::kDouble);
  out.log_partition = (highest.to(at::kDouble) + sum.log()).squeeze(1);
  out.probs.div_(sum.to(out.probs.scalar_type()));
  out.entropy = out.log_partition - (out.probs * out.scores).sum({1}, /*keepdim=*/false, at::kDouble);
  return out;
}

std::vector<double> ToDoubles(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

// l and H of the slice's targets, in its order.
void Read(const Distribution& distribution, const SliceTargets& slice, std::vector<double>& logprob,
          std::vector<double>& entropy) {
  const at::Tensor scores = distribution.scores.index({slice.row, slice.token}).to(at::kDouble);
  logprob = ToDoubles(scores - distribution.log_partition.index_select(0, slice.row));
  entropy = ToDoubles(distribution.entropy.index_select(0, slice.row));
}

// dL/dlogits of the first `vocabulary` columns, from the gradients of the slice's targets. Consumes the
// distribution.
at::Tensor LogitGradient(Distribution distribution, const SliceTargets& slice,
                         std::span<const double> gradient_logprob, std::span<const double> gradient_entropy) {
  const auto options = distribution.probs.options();
  auto to_tensor = [&](std::span<const double> values) {
    return at::tensor(std::vector<double>(values.begin(), values.end()), at::kDouble)
        .to(options.device(), distribution.probs.scalar_type());
  };
  const at::Tensor by_target = to_tensor(gradient_logprob);
  at::Tensor row_sum = at::zeros({slice.rows}, options).index_add_(0, slice.row, by_target);
  at::Tensor out;
  if (std::any_of(gradient_entropy.begin(), gradient_entropy.end(), [](double g) { return g != 0; })) {
    const at::Tensor row_entropy =
        at::zeros({slice.rows}, options).index_add_(0, slice.row, to_tensor(gradient_entropy));
    // log p + H of each column
    const at::Tensor shift =
        (distribution.entropy - distribution.log_partition).to(distribution.probs.scalar_type());
    out = (distribution.scores + shift.unsqueeze(1))
              .mul_(row_entropy.unsqueeze(1))
              .add_(row_sum.unsqueeze(1));
    out.mul_(distribution.probs).neg_();
  } else {
    out = distribution.probs.mul_(row_sum.neg().unsqueeze(1));
  }
  out.index_put_({slice.row, slice.token}, by_target, /*accumulate=*/true);
  if (slice.temperature.defined()) out.div_(slice.temperature);
  return out;
}

// Visits consecutive slices of at most `slice_rows` rows.
template <class Visit>
void ForEachSlice(const at::Tensor& hidden, const data::MicroBatch& batch, int64_t slice_rows, Visit visit) {
  const std::vector<int32_t> order = TargetsByRow(batch);
  const auto rows = static_cast<int64_t>(batch.rows.size());
  size_t begin = 0;
  for (int64_t first = 0; first < rows; first += slice_rows) {
    const int64_t count = std::min(slice_rows, rows - first);
    size_t end = begin;
    while (end < order.size() && batch.targets[static_cast<size_t>(order[end])].row < first + count) ++end;
    visit(MakeSlice(batch, std::span(order).subspan(begin, end - begin), first, count, hidden));
    begin = end;
  }
}

}  // namespace

Head::Head(native::Model& model, const HeadOptions& options) : model_(model), options_(options) {}

int64_t Head::SliceRows() const {
  if (options_.slice_rows > 0) return options_.slice_rows;
  return std::clamp<int64_t>((int64_t{8} << 20) / model_.info().vocabulary, 16, 4096);
}

void Head::Evaluate(const at::Tensor& hidden, const data::MicroBatch& batch, std::vector<double>& logprob,
                    std::vector<double>& entropy) const {
  const at::NoGradGuard no_grad;
  logprob.assign(batch.targets.size(), 0);
  entropy.assign(batch.targets.size(), 0);
  std::vector<double> l, h;
  ForEachSlice(hidden, batch, SliceRows(), [&](const SliceTargets& slice) {
    const at::Tensor logits = model_.Logits(hidden.narrow(0, slice.first_row, slice.rows));
    Read(Normalise(logits, options_.vocabulary, slice), slice, l, h);
    for (size_t i = 0; i < slice.targets.size(); ++i) {
      logprob[static_cast<size_t>(slice.targets[i])] = l[i];
      entropy[static_cast<size_t>(slice.targets[i])] = h[i];
    }
  });
}

at::Tensor Head::Backward(const at::Tensor& hidden, const data::MicroBatch& batch,
                          const TargetGradient& gradient) const {
  at::Tensor hidden_gradient = at::empty_like(hidden);
  std::vector<double> l, h, gradient_l, gradient_h;
  ForEachSlice(hidden, batch, SliceRows(), [&](const SliceTargets& slice) {
    at::Tensor input = hidden.narrow(0, slice.first_row, slice.rows).detach().requires_grad_();
    const at::Tensor logits = model_.Logits(input);
    at::Tensor logit_gradient;
    {
      const at::NoGradGuard no_grad;
      Distribution distribution = Normalise(logits, options_.vocabulary, slice);
      Read(distribution, slice, l, h);
      gradient_l.assign(l.size(), 0);
      gradient_h.assign(l.size(), 0);
      gradient(slice.targets, l, h, gradient_l, gradient_h);
      logit_gradient =
          LogitGradient(std::move(distribution), slice, gradient_l, gradient_h).to(logits.scalar_type());
    }
    torch::autograd::backward({logits.narrow(1, 0, options_.vocabulary)}, {logit_gradient});
    const at::NoGradGuard no_grad;
    hidden_gradient.narrow(0, slice.first_row, slice.rows).copy_(input.grad());
  });
  return hidden_gradient;
}

}  // namespace volery::training
