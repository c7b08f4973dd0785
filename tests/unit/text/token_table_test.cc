#include "core/text/token_table.h"

#include <gtest/gtest.h>

#include "core/base/random.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

TEST(TokenTable, HoldsTokensOfEveryLength) {
  std::vector<std::string> bytes;
  for (size_t size = 0; size < 40; ++size) bytes.emplace_back(size, static_cast<char>('A' + size));
  const TokenTable table(bytes, std::vector<bool>(bytes.size(), false));
  std::string all;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < bytes.size(); ++id) {
    EXPECT_EQ(table.Bytes(static_cast<int32_t>(id)), bytes[id]);
    ids.push_back(static_cast<int32_t>(id));
    all += bytes[id];
  }
  EXPECT_EQ(table.Decode(ids, false), all);
  EXPECT_EQ(table.Decode({}, false), "");
}

TEST(TokenTable, PassesOverIdsWithoutTokenAndSpecialOnesWhenAsked) {
  const TokenTable table({"a", "<eos>", ""}, {false, true, false});
  const std::vector<int32_t> ids = {-1, 0, 1, 3, INT32_MIN, 2, INT32_MAX, 0};
  EXPECT_EQ(table.Decode(ids, false), "a<eos>a");
  EXPECT_EQ(table.Decode(ids, true), "aa");
  EXPECT_TRUE(table.IsSpecial(1));
  EXPECT_FALSE(table.IsSpecial(0));
  for (const int32_t id : {-1, 3, INT32_MAX}) {
    EXPECT_FALSE(table.IsSpecial(id));
    EXPECT_EQ(table.Bytes(id), "");
  }
}

// Characters may be cut anywhere: joined they are whole, alone they become U+FFFD.
TEST(TokenTable, EqualsConcatenationForRandomTokens) {
  base::RandomStream stream(5, base::RandomUse::kGenerator);
  const std::string text =
      "plain \xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80 and \xED\x95\x9C\xEA\xB8\x80 more text";
  std::vector<std::string> bytes;
  std::vector<bool> special;
  for (int i = 0; i < 300; ++i) {
    const size_t begin = stream.NextBelow(text.size());
    bytes.push_back(text.substr(begin, stream.NextBelow(24)));
    special.push_back(stream.NextBelow(10) == 0);
  }
  const TokenTable table(bytes, special);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> ids(stream.NextBelow(30));
    std::string all, plain;
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(stream.NextBelow(bytes.size()));
      const auto index = static_cast<size_t>(id);
      all += bytes[index];
      if (!special[index]) plain += bytes[index];
    }
    EXPECT_EQ(table.Decode(ids, false), ReplaceInvalidUtf8(all));
    EXPECT_EQ(table.Decode(ids, true), ReplaceInvalidUtf8(plain));
  }
}

}  // namespace
}  // namespace volery::text
