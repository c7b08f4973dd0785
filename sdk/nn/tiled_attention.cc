#include "volery/nn/tiled_attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "parallel.h"

namespace volery::nn {

using kernels::kPanel;
using kernels::ValueStride;

TiledAttention::TiledAttention(const at::Tensor& q, int64_t heads, std::vector<int64_t> seen, double scale,
                               bool plain)
    : q_(q.contiguous()),
      heads_(heads),
      dim_(q.size(1) / heads),
      seen_(std::move(seen)),
      scale_(scale),
      kernels_(HasKernels(q) && !plain) {
  TORCH_CHECK(q.dim() == 2 && q.size(1) == heads_ * dim_ && q.size(0) == static_cast<int64_t>(seen_.size()),
              "TiledAttention: q ", q.sizes(), ", ", heads, " heads, ", seen_.size(), " rows");
  const int64_t rows = q.size(0);
  if (kernels_) {
    out_ = at::empty(q_.sizes(), q_.options());
    scratch_.resize(heads_ * kernels::AttendScratch(rows, dim_));
    return;
  }
  const auto options = q.options().dtype(StatisticsType(q));
  largest_ = at::full({heads_, rows, 1}, -std::numeric_limits<double>::infinity(), options);
  total_ = at::zeros({heads_, rows, 1}, options);
  sum_ = at::zeros({heads_, rows, dim_}, options);
}

void TiledAttention::Add(const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(k.dim() == 2 && k.size(1) == heads_ * dim_ && v.sizes() == k.sizes() &&
                  k.scalar_type() == q_.scalar_type() && v.scalar_type() == q_.scalar_type(),
              "TiledAttention: k ", k.sizes(), ", v ", v.sizes(), ", q ", q_.sizes());
  TORCH_CHECK(base_ % (4 * kPanel) == 0,
              "TiledAttention: a tile that isn't the last has a multiple of 64 positions");
  if (kernels_)
    AddByKernel(k.contiguous(), v.contiguous());
  else
    AddByAten(k, v);
  base_ += k.size(0);
}

void TiledAttention::AddByKernel(const at::Tensor& k, const at::Tensor& v) {
  const int64_t count = k.size(0), rows = q_.size(0), padded = (count + kPanel - 1) / kPanel * kPanel;
  const int64_t stride = ValueStride(dim_), scratch = kernels::AttendScratch(rows, dim_);
  const at::Tensor keys = at::empty({heads_, padded * dim_}, k.options()),
                   values = at::empty({heads_, count * stride}, v.options());
  const kernels::Table& table = TableFor(ElementOf(k));
  std::vector<long> seen;  // of these positions
  for (int64_t all : seen_) seen.push_back(all - base_);
  ParallelRows(heads_, count * (rows + 1) * dim_ / 8, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; head++) {
      char *to_keys = At(keys, head * padded * dim_), *to_values = At(values, head * count * stride);
      for (int64_t t = 0; t < count; t++)
        table.append(At(k, (t * heads_ + head) * dim_), At(v, (t * heads_ + head) * dim_), to_keys, to_values,
                     t, dim_);
      table.attend({.q = At(q_, head * dim_),
                    .keys = to_keys,
                    .values = to_values,
                    .out = At(out_, head * dim_),
                    .scratch = scratch_.data() + head * scratch,
                    .seen = seen.data(),
                    .rows = rows,
                    .q_row = heads_ * dim_,
                    .out_row = heads_ * dim_,
                    .group = 1,
                    .head_dim = dim_,
                    .positions = count,
                    .scale = static_cast<float>(scale_),
                    .resumed = base_ > 0});
    }
  });
}

void TiledAttention::AddByAten(const at::Tensor& k, const at::Tensor& v) {
  const int64_t count = k.size(0);
  const auto heads = [&](const at::Tensor& x) {
    return x.to(sum_.scalar_type()).view({x.size(0), heads_, dim_}).transpose(0, 1);
  };
  const at::Tensor seen = at::tensor(seen_, at::kLong).to(k.device()).view({1, -1, 1});
  const at::Tensor hidden = at::arange(base_, base_ + count, at::dtype(at::kLong).device(k.device())) >= seen;
  const at::Tensor scores = at::matmul(heads(q_) * scale_, heads(k).transpose(1, 2))
                                .masked_fill(hidden, -std::numeric_limits<double>::infinity());
  const at::Tensor largest = at::maximum(largest_, scores.amax(-1, true));
  const at::Tensor correction = (largest_ - largest).exp(), p = (scores - largest).exp();
  total_ = total_ * correction + p.sum(-1, true);
  sum_ = sum_ * correction + at::matmul(p, heads(v));
  largest_ = largest;
}

at::Tensor TiledAttention::Result() const {
  for (int64_t seen : seen_)
    if (seen <= 0 || seen > base_)
      throw std::invalid_argument("TiledAttention: a row is to see " + std::to_string(seen) +
                                  " positions of " + std::to_string(base_));
  if (kernels_) return out_;
  return (sum_ / total_).transpose(0, 1).reshape(q_.sizes()).to(q_.scalar_type());
}

}  // namespace volery::nn
