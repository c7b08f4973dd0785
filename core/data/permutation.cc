#include "core/data/permutation.h"

#include "core/base/status.h"

namespace volery::data {
namespace {
constexpr uint32_t kFeistelRounds = 6;
}

Permutation::Permutation(uint64_t seed, base::RandomUse use, int64_t size)
    : seed_(seed), size_(static_cast<uint64_t>(size)), use_(use) {
  VOLERY_CHECK(size > 0);
  while ((uint64_t{1} << (2 * half_bits_)) < size_) ++half_bits_;
}

// Cycle walking: a permutation of the power of four, applied until it falls below size_, permutes [0, size_).
int64_t Permutation::At(uint64_t epoch, int64_t position) const {
  VOLERY_CHECK(position >= 0 && static_cast<uint64_t>(position) < size_);
  auto value = static_cast<uint64_t>(position);
  do {
    value = Feistel(epoch, value);
  } while (value >= size_);
  return static_cast<int64_t>(value);
}

uint64_t Permutation::Feistel(uint64_t epoch, uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint32_t round = 0; round < kFeistelRounds; ++round) {
    const base::RandomStream words(seed_, use_, epoch, round);
    const uint64_t mixed = (left ^ words.Word(right)) & mask;
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

}  // namespace volery::data
