#include "memo.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>

namespace volery::goldfinch {
namespace {

constexpr int64_t kStepsBetweenRenewals = 256;

std::vector<int64_t> PairWidths(const Config& c) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < c.layers; i++)
    if (c.Kind(i) == TimeMix::kGold) out.insert(out.end(), {c.mix_rank, c.width});
  return out;
}

}  // namespace

RowMemo::RowMemo(std::vector<int64_t> widths, at::ScalarType dtype, at::Device device)
    : widths_(std::move(widths)), dtype_(dtype), device_(device) {}

std::vector<int64_t> RowMemo::Find(
    std::span<const uint64_t> keys, int64_t most_rows,
    const std::function<std::vector<at::Tensor>(std::span<const int64_t> positions)>& make) try {
  std::vector<int64_t> out, missing;
  int64_t first = size();
  const auto fill = [&] {
    if (missing.empty()) return;
    const int64_t count = static_cast<int64_t>(missing.size());
    Reserve(first + count, most_rows);
    const std::vector<at::Tensor> rows = make(missing);
    for (size_t i = 0; i < parts_.size(); i++) parts_[i].narrow(0, first, count).copy_(rows[i]);
    first += count;
    missing.clear();
  };
  for (size_t i = 0; i < keys.size(); i++) {
    const auto found = numbers_.find(keys[i]);
    if (found != numbers_.end()) {
      out.push_back(found->second);
    } else if (size() >= most_rows) {
      out.push_back(-1);
      full_ = true;
    } else {
      out.push_back(size());
      numbers_.emplace(keys[i], size());
      missing.push_back(static_cast<int64_t>(i));
      if (static_cast<int64_t>(missing.size()) == kBatch) fill();
    }
  }
  fill();
  return out;
} catch (...) {
  Forget();  // keys may have numbers already whose rows were never made
  throw;
}

int64_t RowMemo::row_bytes() const {
  return std::accumulate(widths_.begin(), widths_.end(), int64_t{0}) *
         static_cast<int64_t>(at::elementSize(dtype_));
}

int64_t RowMemo::bytes() const {
  int64_t total = 0;
  for (const at::Tensor& part : parts_) total += static_cast<int64_t>(part.nbytes());
  return total;
}

void RowMemo::Forget() {
  numbers_.clear();
  parts_.clear();
  full_ = false;
}

void RowMemo::Reserve(int64_t rows, int64_t most_rows) {
  const int64_t capacity = parts_.empty() ? 0 : parts_[0].size(0);
  if (rows <= capacity) return;
  const int64_t grown = std::max(rows, std::min(most_rows, std::max(capacity * 3 / 2, kBatch)));
  // Ordinary tensors, which may be changed in and outside of inference mode.
  const c10::InferenceMode ordinary(false);
  parts_.resize(widths_.size());
  for (size_t i = 0; i < widths_.size(); i++) {
    at::Tensor larger = at::empty({grown, widths_[i]}, at::dtype(dtype_).device(device_));
    if (capacity > 0) larger.narrow(0, 0, capacity).copy_(parts_[i]);
    parts_[i] = larger;
  }
}

at::Tensor IndexTensor(std::span<const int64_t> list, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(list.data(), list.size()), at::kLong).to(device);
}

Memo::Memo(const Config& config, at::ScalarType dtype, at::Device device, int64_t most_bytes)
    : tokens({config.width}, at::kFloat, device), pairs(PairWidths(config), dtype, device), most_bytes_(most_bytes) {}

int64_t Memo::most_tokens() const {
  return std::min(most_bytes_ / 2, most_bytes_ - pairs.bytes()) / tokens.row_bytes();
}
int64_t Memo::most_pairs() const {
  return (most_bytes_ - tokens.bytes()) / pairs.row_bytes();
}

void Memo::Begin(int64_t weights) {
  steps_++;
  const bool renew = (pairs.full() || tokens.full()) && steps_ >= kStepsBetweenRenewals;
  if (weights == weights_ && !renew) return;
  tokens.Forget();
  pairs.Forget();
  weights_ = weights;
  steps_ = 0;
}

}  // namespace volery::goldfinch
