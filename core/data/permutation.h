#pragma once
// Keyed permutations of [0, size) by a Feistel network with cycle walking: the n-th element of the e-th
// permutation is a pure function of (seed, use, e, n), so that nothing must be shuffled, kept or replayed.

#include <cstdint>

#include "core/base/random.h"

namespace volery::data {

class Permutation {
 public:
  Permutation(uint64_t seed, base::RandomUse use, int64_t size);  // size > 0
  int64_t size() const { return static_cast<int64_t>(size_); }
  int64_t At(uint64_t epoch, int64_t position) const;  // position in [0, size)

 private:
  uint64_t Feistel(uint64_t epoch, uint64_t value) const;

  uint64_t seed_, size_;
  base::RandomUse use_;
  int half_bits_ = 1;  // of the smallest power of four that is not below size_
};

}  // namespace volery::data
