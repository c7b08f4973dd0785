#include "core/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/status.h"

namespace volery::data {
namespace {

// Shares of a block: rounded down, at least one, and what is left to those that lost most.
std::vector<int64_t> Shares(std::span<const double> weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> counts;
  const auto wanted = [&](size_t i) { return Mixture::kBlock * (weights[i] / total); };
  for (size_t i = 0; i < weights.size(); ++i)
    counts.push_back(std::max<int64_t>(1, static_cast<int64_t>(std::floor(wanted(i)))));
  const auto excess = [&](size_t i) { return static_cast<double>(counts[i]) - wanted(i); };
  for (int64_t sum = std::accumulate(counts.begin(), counts.end(), int64_t{0}); sum != Mixture::kBlock;) {
    size_t chosen = 0;
    for (size_t i = 1; i < counts.size(); ++i) {
      if (sum < Mixture::kBlock ? excess(i) < excess(chosen) : excess(i) > excess(chosen) && counts[i] > 1)
        chosen = i;
    }
    const int64_t change = sum < Mixture::kBlock ? 1 : -1;
    counts[chosen] += change;
    sum += change;
  }
  return counts;
}

}  // namespace

Mixture::Mixture(std::span<const double> weights) {
  VOLERY_CHECK(!weights.empty() && static_cast<int64_t>(weights.size()) <= kBlock);
  counts_ = Shares(weights);
  std::vector<int64_t> taken(weights.size(), 0);
  for (int64_t n = 0; n < kBlock; ++n) {
    // The source that is furthest behind its share; the first one among equals.
    size_t chosen = 0;
    const auto behind = [&](size_t i) { return (n + 1) * counts_[i] - kBlock * taken[i]; };
    for (size_t i = 1; i < weights.size(); ++i) {
      if (behind(i) > behind(chosen)) chosen = i;
    }
    block_.push_back({chosen, taken[chosen]++});
  }
}

Mixture::Draw Mixture::At(int64_t sample) const {
  Draw draw = block_[static_cast<size_t>(sample % kBlock)];
  draw.number += sample / kBlock * counts_[draw.source];
  return draw;
}

}  // namespace volery::data
