#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A word is a pure function of its key and counter, so nothing depends on the order in which words are drawn.

#include <array>
#include <cstddef>
#include <cstdint>

namespace volery::base {

using PhiloxBlock = std::array<uint32_t, 4>;

// One block of four words; 64-bit key, 128-bit counter.
PhiloxBlock Philox4x32(const PhiloxBlock& counter, uint64_t key);

// Words first .. first + n - 1 of the sequence of blocks {low 32 bits of i, high 32 bits of i, c2, c3}, i = 0, 1, 2 ...
void PhiloxWords(uint64_t key, uint32_t c2, uint32_t c3, uint64_t first, uint32_t* out, size_t n);

// What a stream is for; part of every key, so that uses never share words.
enum class RandomUse : uint32_t {
  kToken = 1,
  kTaskOrder = 2,
  kRefill = 3,
  kInit = 4,
  kGenerator = 5,
  kEval = 6,
  kShuffle = 7,
  kPlugin = 8,
  kTextOrder = 9
};

// A stream of words named by (seed, use, a, b, c). Cheap to make; not shared between threads.
class RandomStream {
 public:
  RandomStream(uint64_t seed, RandomUse use, uint64_t a = 0, uint32_t b = 0);
  uint32_t Word(uint64_t n) const;         // the n-th word, any order
  // out[i] = Word(first + i) for i < n, several times as fast: for whole rows.
  void Words(uint64_t first, uint32_t* out, size_t n) const { PhiloxWords(key_, c2_, c3_, first, out, n); }
  uint32_t NextWord() { return Word(next_++); }
  uint64_t NextBelow(uint64_t bound);      // uniform in [0, bound), without modulo bias
  double NextUnit();                       // (word + 1/2) / 2^32, in (0, 1)

 private:
  uint64_t key_;
  uint32_t c2_, c3_;
  uint64_t next_ = 0;
};

// Gumbel noise of a 32-bit word: -log(-log((n + 1/2) / 2^32)) in double, by one fixed routine of IEEE additions,
// multiplications and divisions: the same bits on every machine.
double GumbelFromWord(uint32_t word);
// The routine behind it: natural logarithm of a finite positive double, error below 1 ulp, no library call.
double FixedLog(double x);

}  // namespace volery::base
