#include "core/base/random.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <vector>

#include "core/base/files.h"

namespace volery::base {
namespace {

// The known-answer vectors that Random123 publishes for philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, 0), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(Philox4x32({ones, ones, ones, ones}, ~uint64_t{0}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, RowsOfWordsEqualSingleWords) {
  const RandomStream stream(7, RandomUse::kToken, uint64_t{9} << 32 | 5, 3);
  for (uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{6}, uint64_t{64}, (uint64_t{5} << 32) + 2,
                         (uint64_t{1} << 34) - 30}) {
    for (size_t n : {0u, 1u, 3u, 63u, 64u, 65u, 200u}) {
      std::vector<uint32_t> row(n + 1, 0xabcdef01);
      stream.Words(first, row.data(), n);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(row[i], stream.Word(first + i)) << first << " + " << i;
      EXPECT_EQ(row[n], 0xabcdef01u);
    }
  }
}

TEST(RandomStream, EveryPartOfTheNameChangesTheWords) {
  std::set<uint64_t> seen;
  auto add = [&](uint64_t seed, RandomUse use, uint64_t a, uint32_t b) {
    const RandomStream stream(seed, use, a, b);
    EXPECT_TRUE(seen.insert(uint64_t{stream.Word(0)} << 32 | stream.Word(1)).second);
  };
  add(1, RandomUse::kToken, 0, 0);
  add(2, RandomUse::kToken, 0, 0);
  add(uint64_t{1} << 32 | 1, RandomUse::kToken, 0, 0);
  add(1, RandomUse::kRefill, 0, 0);
  add(1, RandomUse::kToken, 1, 0);
  add(1, RandomUse::kToken, uint64_t{1} << 32, 0);
  add(1, RandomUse::kToken, 0, 1);
}

TEST(RandomStream, NextBelowIsUniform) {
  RandomStream stream(3, RandomUse::kShuffle);
  std::vector<int> counts(6);
  for (int i = 0; i < 60'000; ++i) ++counts[stream.NextBelow(6)];
  double chi_square = 0;
  for (int count : counts) chi_square += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  EXPECT_LT(chi_square, 20.5);  // 5 degrees of freedom, p = 0.001
  EXPECT_EQ(stream.NextBelow(1), 0u);
  EXPECT_LT(stream.NextBelow(~uint64_t{0}), ~uint64_t{0});
}

TEST(RandomStream, UnitStaysInsideTheOpenInterval) {
  RandomStream stream(3, RandomUse::kEval);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double u = stream.NextUnit();
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.01);
}

double UlpsFromLibrary(double x) {
  const double exact = std::log(x), ours = FixedLog(x);
  if (ours == exact) return 0;
  const double ulp = std::abs(std::nextafter(exact, HUGE_VAL) - exact);
  return std::abs(ours - exact) / ulp;
}

TEST(FixedLog, IsWithinOneUlpOfTheLibrary) {
  double worst = 0;
  for (double x : {1.0, 2.0, 0.5, 10.0, 1e300, 1e-300, std::numeric_limits<double>::denorm_min(),
                   std::numeric_limits<double>::min(), std::numeric_limits<double>::max(),
                   std::nextafter(1.0, 0.0), std::nextafter(1.0, 2.0), M_SQRT1_2, M_SQRT2, M_E}) {
    worst = std::max(worst, UlpsFromLibrary(x));
  }
  RandomStream stream(1, RandomUse::kPlugin);
  for (int i = 0; i < 200'000; ++i) {
    worst = std::max(worst, UlpsFromLibrary(stream.NextUnit()));
    worst = std::max(worst, UlpsFromLibrary(0.5 + stream.NextUnit()));
    const uint64_t bits = (uint64_t{stream.NextWord()} << 32 | stream.NextWord()) & 0x7fffffffffffffffull;
    const double any = std::bit_cast<double>(bits);
    if (std::isfinite(any) && any > 0) worst = std::max(worst, UlpsFromLibrary(any));
  }
  EXPECT_LE(worst, 1.0);
}

TEST(FixedLog, OfOneIsZeroAndPowersOfTwoAreExact) {
  EXPECT_EQ(FixedLog(1.0), 0.0);
  for (int k : {-1074, -1022, -32, -1, 1, 32, 1023})
    EXPECT_EQ(FixedLog(std::ldexp(1.0, k)), std::log(std::ldexp(1.0, k))) << k;
}

// Recorded by tests/golden/base/record.py, an implementation of its own.
TEST(Gumbel, HasTheRecordedBits) {
  std::istringstream lines(*ReadFile(VOLERY_SOURCE_DIR "/tests/golden/base/gumbel.txt"));
  uint64_t word = 0, bits = 0;
  int count = 0;
  for (lines >> std::hex; lines >> word >> bits; ++count) {
    EXPECT_EQ(std::bit_cast<uint64_t>(GumbelFromWord(static_cast<uint32_t>(word))), bits) << std::hex << word;
  }
  EXPECT_EQ(count, 256);
}

TEST(Gumbel, FollowsItsFormulaAndKeepsItsOrder) {
  double previous = -HUGE_VAL;
  for (uint64_t word = 0; word <= 0xffffffff; word += 0xffffffff / 1000) {
    const double expected = -std::log(-std::log((static_cast<double>(word) + 0.5) / 4294967296.0));
    const double noise = GumbelFromWord(static_cast<uint32_t>(word));
    EXPECT_NEAR(noise, expected, 1e-12 * std::max(1.0, std::abs(expected))) << word;
    EXPECT_GT(noise, previous);
    previous = noise;
  }
}

}  // namespace
}  // namespace volery::base
