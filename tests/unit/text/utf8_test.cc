#include "core/text/utf8.h"

#include <gtest/gtest.h>

namespace volery::text {
namespace {

TEST(Utf8, TellsValidFromBroken) {
  EXPECT_TRUE(IsValidUtf8("plain ascii, long enough for whole words"));
  EXPECT_TRUE(IsValidUtf8("\xC3\xA9 \xE4\xBD\xA0 \xF0\x9F\x98\x80"));
  for (const char* broken : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                             "\xF4\x90\x80\x80", "abcdefgh\xFF"}) {
    EXPECT_FALSE(IsValidUtf8(broken)) << broken;
  }
}

TEST(Utf8, ReplacesEachMaximalBrokenPartOnce) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("a\xF0\x9F\x98z"), "a" + bad + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE4\xBD\xF0\x9F\x98\x80"), bad + "\xF0\x9F\x98\x80");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF"), bad + bad);
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80"), bad + bad + bad);
  EXPECT_EQ(ReplaceInvalidUtf8("fine"), "fine");
}

TEST(Utf8, FindsTheTailThatMoreBytesCouldComplete) {
  EXPECT_EQ(IncompleteUtf8Tail("a\xC3"), 1u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xE4\xBD"), 2u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xF0\x9F\x98"), 3u);
  EXPECT_EQ(IncompleteUtf8Tail("a\xC3\xA9"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("a\x80"), 0u);
  EXPECT_EQ(IncompleteUtf8Tail("\xE0\x80"), 0u);  // no byte can make this a character
  EXPECT_EQ(IncompleteUtf8Tail(""), 0u);
}

TEST(Utf8, EveryCodePointSurvivesTheRoundTrip) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, &text);
    ASSERT_TRUE(IsValidUtf8(text)) << c;
    ASSERT_EQ(CodePointAt(text, 0).value, c);
    ASSERT_EQ(CodePointAt(text, 0).length, text.size());
  }
}

}  // namespace
}  // namespace volery::text
