#include "core/data/magic_prime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/files.h"

namespace volery::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Recorded by tests/golden/formats/record_binidx.py.
nlohmann::json Recorded() {
  return nlohmann::json::parse(
      *base::ReadFile(std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/binidx/magic_prime.json"));
}

TEST(MagicPrime, PrimesAreThoseThatTheReferencePrints) {
  const nlohmann::json recorded = Recorded();
  int none = 0;
  for (const auto& row : recorded["primes"]) {
    const int64_t tokens = row["tokens"], context = row["context"], expected = row["prime"];
    const StatusOr<int64_t> prime = LargestMagicPrime(tokens, context);
    if (expected == 0) {
      EXPECT_THAT(Message(prime.status()), HasSubstr("are too few")) << row;
      ++none;
      continue;
    }
    ASSERT_TRUE(prime.ok()) << row << prime.status();
    EXPECT_EQ(*prime, expected) << row;
  }
  EXPECT_EQ(none, 2);
  EXPECT_FALSE(LargestMagicPrime(100, 0).ok());
  EXPECT_FALSE(LargestMagicPrime(-100, 3).ok());
}

TEST(MagicPrime, OffsetsAreThoseOfTheReferenceTrainer) {
  const nlohmann::json recorded = Recorded();
  EXPECT_EQ(recorded["offsets"].size(), 64u);
  for (const auto& row : recorded["offsets"]) {
    EXPECT_EQ(MagicPrimeOffset(row["prime"], row["context"], row["sample"]), row["offset"].get<int64_t>())
        << row;
  }
}

TEST(MagicPrime, EveryChunkComesOnceInOnePeriod) {
  for (int64_t prime : {2, 5, 11, 101, 1013}) {
    for (int64_t first : {int64_t{0}, 3 * prime + 1}) {
      std::set<int64_t> seen;
      for (int64_t sample = 0; sample < prime; ++sample)
        seen.insert(MagicPrimeOffset(prime, 8, first + sample));
      EXPECT_EQ(seen.size(), static_cast<size_t>(prime));
      EXPECT_EQ(*seen.begin(), 0);
      EXPECT_EQ(*seen.rbegin(), 8 * (prime - 1));
    }
  }
}

TEST(MagicPrime, ChecksAPrimeThatARecipeNames) {
  EXPECT_TRUE(CheckMagicPrime(1463027, 1498226207, 1024).ok());
  EXPECT_TRUE(CheckMagicPrime(101, 101 * 10 + 1, 10).ok());
  EXPECT_THAT(Message(CheckMagicPrime(101, 101 * 10, 10)),
              AllOf(HasSubstr("magic prime 101 lets samples leave"), HasSubstr("use 89")));
  EXPECT_THAT(Message(CheckMagicPrime(int64_t{1} << 62, 1010, 10)), HasSubstr("leave the tokens"));
  EXPECT_THAT(Message(CheckMagicPrime(0, 1010, 10)), HasSubstr("leave the tokens"));
  EXPECT_THAT(Message(CheckMagicPrime(83, 1010, 10)), HasSubstr("a tenth of the tokens"));
  EXPECT_THAT(Message(CheckMagicPrime(97, 1010, 10)), HasSubstr("isn't a prime of the form 3 k + 2"));
  EXPECT_THAT(Message(CheckMagicPrime(95, 1010, 10)), HasSubstr("isn't a prime of the form 3 k + 2"));
  EXPECT_FALSE(CheckMagicPrime(2, 10, 10).ok());
}

}  // namespace
}  // namespace volery::data
