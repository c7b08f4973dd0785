#include "core/base/random.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/base/clones.h"

namespace volery::base {
namespace {

constexpr uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;
constexpr size_t kLanes = 16;

// kLanes consecutive blocks; plain loops over lanes, which the compiler turns into vector code.
VOLERY_CLONES void PhiloxLanes(uint64_t key, uint32_t c2, uint32_t c3, uint64_t first_block, uint32_t* out) {
  uint32_t c[4][kLanes];
  for (size_t i = 0; i < kLanes; ++i) {
    c[0][i] = static_cast<uint32_t>(first_block + i);
    c[1][i] = static_cast<uint32_t>((first_block + i) >> 32);
    c[2][i] = c2;
    c[3][i] = c3;
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < kLanes; ++i) {
      const uint64_t p0 = uint64_t{kMultiply0} * c[0][i], p1 = uint64_t{kMultiply1} * c[2][i];
      c[0][i] = static_cast<uint32_t>(p1 >> 32) ^ c[1][i] ^ k0;
      c[1][i] = static_cast<uint32_t>(p1);
      c[2][i] = static_cast<uint32_t>(p0 >> 32) ^ c[3][i] ^ k1;
      c[3][i] = static_cast<uint32_t>(p0);
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  for (size_t i = 0; i < kLanes; ++i) {
    for (size_t word = 0; word < 4; ++word) out[4 * i + word] = c[word][i];
  }
}

}  // namespace

PhiloxBlock Philox4x32(const PhiloxBlock& counter, uint64_t key) {
  PhiloxBlock c = counter;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t p0 = uint64_t{kMultiply0} * c[0], p1 = uint64_t{kMultiply1} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

void PhiloxWords(uint64_t key, uint32_t c2, uint32_t c3, uint64_t first, uint32_t* out, size_t n) {
  constexpr size_t kWords = 4 * kLanes;
  uint64_t block = first / 4;
  size_t skip = first % 4;
  uint32_t words[kWords];
  while (n > 0) {
    const bool whole = skip == 0 && n >= kWords;
    PhiloxLanes(key, c2, c3, block, whole ? out : words);
    const size_t taken = std::min(n, kWords - skip);
    if (!whole) std::memcpy(out, words + skip, taken * sizeof(uint32_t));
    out += taken;
    n -= taken;
    block += kLanes;
    skip = 0;
  }
}

RandomStream::RandomStream(uint64_t seed, RandomUse use, uint64_t a, uint32_t b) {
  // The name is hashed by Philox itself: two blocks over (use, b, a) keyed by the seed give the stream's key and counter half.
  const PhiloxBlock name = Philox4x32(
      {static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32), b, static_cast<uint32_t>(use)}, seed);
  key_ = uint64_t{name[1]} << 32 | name[0];
  c2_ = name[2];
  c3_ = name[3];
}

uint32_t RandomStream::Word(uint64_t n) const {
  const uint64_t block = n / 4;
  return Philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), c2_, c3_}, key_)[n % 4];
}

uint64_t RandomStream::NextBelow(uint64_t bound) {
  // Reject the words of the last, incomplete range of `bound`.
  const uint64_t limit = ~uint64_t{0} - ~uint64_t{0} % bound;
  for (;;) {
    const uint64_t high = NextWord();
    const uint64_t draw = high << 32 | NextWord();
    if (draw < limit) return draw % bound;
  }
}

double RandomStream::NextUnit() { return (NextWord() + 0.5) * 0x1p-32; }

double FixedLog(double x) {
  constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  constexpr uint64_t kSqrtHalfBits = 0x3fe6a09e667f3bcdull, kOneBits = 0x3ff0000000000000ull;
  int exponent_shift = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    exponent_shift = -54;
  }
  // x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2).
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t offset = bits + (kOneBits - kSqrtHalfBits);
  const double k = static_cast<double>(static_cast<int64_t>(offset >> 52) - 1023 + exponent_shift);
  const double f = std::bit_cast<double>((offset & 0xfffffffffffffull) + kSqrtHalfBits) - 1.0;
  // With s = f / (2 + f): log(1 + f) = f - f^2/2 + s (f^2/2 + R), R = sum of 2 s^(2i) / (2i + 1), i >= 1.
  const double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
  double r = 2.0 / 25;
  for (int odd = 23; odd >= 3; odd -= 2) r = 2.0 / odd + z * r;
  r *= z;
  return k * kLn2High - ((half_square - (s * (half_square + r) + k * kLn2Low)) - f);
}

double GumbelFromWord(uint32_t word) { return -FixedLog(-FixedLog((word + 0.5) * 0x1p-32)); }

}  // namespace volery::base
