#include "core/text/byte_trie.h"

#include <gtest/gtest.h>

#include <set>

#include "core/base/random.h"

namespace volery::text {
namespace {

TEST(ByteTrie, FindsTheLongestKey) {
  const ByteTrie trie({"", "a", "abc", std::string("\0\xFF", 2), "\xFF"});
  EXPECT_EQ(trie.Longest("abd").key, 1);
  EXPECT_EQ(trie.Longest("abd").length, 1u);
  EXPECT_EQ(trie.Longest("abcd").key, 2);
  EXPECT_EQ(trie.Longest(std::string_view("\0\xFF\xFF", 3)).key, 3);
  EXPECT_EQ(trie.Longest(std::string_view("\0", 1)).key, ByteTrie::kNone);
  EXPECT_EQ(trie.Longest("b").length, 0u);
  EXPECT_EQ(trie.Longest("").key, ByteTrie::kNone);
  EXPECT_EQ(trie.Find("ab"), ByteTrie::kNone);
  EXPECT_EQ(trie.Find("abc"), 2);
  EXPECT_EQ(trie.Find(""), ByteTrie::kNone);
}

TEST(ByteTrie, WithoutKeysFindsNothing) {
  using Keys = std::vector<std::string>;
  for (const ByteTrie& trie : {ByteTrie(), ByteTrie(Keys{}), ByteTrie(Keys{""})}) {
    EXPECT_EQ(trie.Longest("a").key, ByteTrie::kNone);
    EXPECT_EQ(trie.Find("a"), ByteTrie::kNone);
  }
}

// Few letters: keys share beginnings; all bytes: nodes with many children.
TEST(ByteTrie, EqualsASearchThroughAllKeys) {
  base::RandomStream stream(3, base::RandomUse::kGenerator);
  for (const size_t letters : {2u, 7u, 256u}) {
    std::set<std::string> keys;
    while (keys.size() < 400) {
      std::string key(1 + stream.NextBelow(letters == 2 ? 12 : 4), '\0');
      for (char& c : key) c = static_cast<char>(stream.NextBelow(letters));
      keys.insert(key);
    }
    const std::vector<std::string> list(keys.begin(), keys.end());
    const ByteTrie trie(list);
    for (size_t i = 0; i < list.size(); ++i) ASSERT_EQ(trie.Find(list[i]), static_cast<int32_t>(i));
    for (int round = 0; round < 3000; ++round) {
      std::string text(stream.NextBelow(14), '\0');
      for (char& c : text) c = static_cast<char>(stream.NextBelow(letters));
      size_t longest = 0;
      for (const std::string& key : list) {
        if (text.starts_with(key)) longest = std::max(longest, key.size());
      }
      const ByteTrie::Match match = trie.Longest(text);
      ASSERT_EQ(match.length, longest);
      ASSERT_EQ(match.key == ByteTrie::kNone ? "" : list[static_cast<size_t>(match.key)],
                text.substr(0, longest));
    }
  }
}

}  // namespace
}  // namespace volery::text
