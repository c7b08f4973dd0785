#include "core/base/hash.h"

#include <gtest/gtest.h>

#include "core/base/files.h"

namespace volery::base {
namespace {

// The examples of FIPS 180-2.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256Hex(std::string()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex(std::string("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileEqualsThatOfItsBytes) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), "abc").ok());
  EXPECT_EQ(*Sha256OfFile(folder.File("a")), Sha256Hex(std::string("abc")));
  EXPECT_EQ(Sha256OfFile(folder.File("b")).status().code(), StatusCode::kNotFound);
}

// Published test values of FNV-1a, 64 bits.
TEST(Fnv1a, KnownAnswers) {
  const std::string word = "foobar";
  EXPECT_EQ(Fnv1a({}), 0xcbf29ce484222325ull);
  EXPECT_EQ(Fnv1a(std::as_bytes(std::span(word))), 0x85944171f73967e8ull);
}

}  // namespace
}  // namespace volery::base
