#include "core/data/loss_by_position.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/base/status.h"

namespace volery::data {

void LossByPosition::Add(int64_t position, double loss) {
  const auto bin =
      static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(position, 1))) - 1);
  sums[std::min(bin, kBins - 1)] += loss;
  counts[std::min(bin, kBins - 1)] += 1;
}

void LossByPosition::Merge(const LossByPosition& other) {
  for (size_t i = 0; i < kBins; ++i) {
    sums[i] += other.sums[i];
    counts[i] += other.counts[i];
  }
  likeliest += other.likeliest;
}

double LossByPosition::tokens() const {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

double LossByPosition::Mean() const {
  VOLERY_CHECK(tokens() > 0);
  return std::accumulate(sums.begin(), sums.end(), 0.0) / tokens();
}

double LossByPosition::Accuracy() const {
  VOLERY_CHECK(tokens() > 0);
  return likeliest / tokens();
}

void LossByPosition::Report(const std::string& prefix, base::MetricRow& row) const {
  for (size_t i = 0; i < kBins; ++i) {
    if (counts[i] > 0) row[Cat(prefix, "loss_at/", int64_t{1} << i)] = sums[i] / counts[i];
  }
}

}  // namespace volery::data
