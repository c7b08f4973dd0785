#pragma once
// Sums of token losses by the token's position in its text, in bins [1, 2), [2, 4), [4, 8) ..., and how many
// tokens were the likeliest of all, where that is measured. Plain data.

#include <array>
#include <cstdint>
#include <string>

#include "core/base/metrics.h"

namespace volery::data {

struct LossByPosition {
  static constexpr size_t kBins = 40;
  std::array<double, kBins> sums = {}, counts = {};
  double likeliest = 0;  // tokens

  // `position` >= 1: how many tokens of the text stand before this one.
  void Add(int64_t position, double loss);
  void Merge(const LossByPosition& other);
  double tokens() const;
  double Mean() const;      // over all tokens; there must be some
  double Accuracy() const;  // share of tokens that were the likeliest
  // "<prefix>loss_at/<first position of the bin>" for each bin with tokens in it.
  void Report(const std::string& prefix, base::MetricRow& row) const;
};

}  // namespace volery::data
