#pragma once
// Weighted mixtures: which source the n-th sample comes from, and the how-manieth of that source it is. A
// pure function of n. The order repeats every kBlock samples, in which each source has its share of them,
// rounded (at least one), spread evenly.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace volery::data {

class Mixture {
 public:
  static constexpr int64_t kBlock = 4096;
  struct Draw {
    size_t source = 0;
    int64_t number = 0;  // counts the samples of this source from 0
  };

  // Positive weights, one to kBlock of them.
  explicit Mixture(std::span<const double> weights);
  Draw At(int64_t sample) const;
  int64_t InBlock(size_t source) const { return counts_[source]; }

 private:
  std::vector<int64_t> counts_;  // of a block, by source
  std::vector<Draw> block_;
};

}  // namespace volery::data
