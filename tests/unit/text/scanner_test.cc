#include "core/text/scanner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/random.h"
#include "core/text/pre_tokenizer.h"
#include "core/text/regex_splitter.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Scan(KnownPattern pattern, const std::string& text) {
  std::vector<PieceRange> ranges;
  SplitByPattern(pattern, text, {0, static_cast<uint32_t>(text.size())}, &ranges);
  std::vector<std::string> pieces;
  for (const PieceRange& range : ranges) pieces.push_back(text.substr(range.begin, range.end - range.begin));
  return pieces;
}

std::vector<std::string> SplitBySteps(std::vector<SplitStep> steps, const std::string& text) {
  const StatusOr<PreTokenizer> made = PreTokenizer::Make(std::move(steps));
  EXPECT_TRUE(made.ok()) << made.status();
  Pieces pieces;
  made->Split(text, &pieces);
  std::vector<std::string> out;
  for (const auto& range : pieces.ranges)
    out.emplace_back(pieces.text.substr(range.begin, range.end - range.begin));
  return out;
}

TEST(Scanner, Gpt2) {
  EXPECT_THAT(Scan(KnownPattern::kGpt2, "I'll can'T 17  x\n\n y  "),
              ElementsAre("I", "'ll", " can", "'", "T", " 17", " ", " x", "\n\n", " y", "  "));
  EXPECT_THAT(Scan(KnownPattern::kGpt2, " ... a"), ElementsAre(" ...", " a"));
}

TEST(Scanner, QwenAndLlama3DifferInNumbers) {
  EXPECT_THAT(Scan(KnownPattern::kQwen, "He'LL(see) 123\r\n\n  x"),
              ElementsAre("He", "'LL", "(see", ")", " ", "1", "2", "3", "\r\n\n", " ", " x"));
  EXPECT_THAT(Scan(KnownPattern::kLlama3, "12345 '\xC5\xBF"), ElementsAre("123", "45", " '", "\xC5\xBF"));
  EXPECT_THAT(Scan(KnownPattern::kQwen,
                   "a'\xC5\xBF"
                   "b ?!\n\nz"),
              ElementsAre("a", "'\xC5\xBF", "b", " ?!\n\n", "z"));
}

TEST(Scanner, RecognisesItsOwnSpellingsOnly) {
  for (const KnownPattern pattern : {KnownPattern::kGpt2, KnownPattern::kQwen, KnownPattern::kLlama3}) {
    EXPECT_EQ(RecognisePattern(PatternRegex(pattern)), pattern);
  }
  EXPECT_FALSE(RecognisePattern("\\p{L}+").has_value());
}

std::string RandomText(uint64_t seed) {
  static const std::vector<uint32_t> kAlphabet = {
      'a',  'Z',    's',    'l',    'L',     'd',  't',  'e',    'r',    'v',    '\'',   '\'',  '1',   '9',
      ' ',  ' ',    ' ',    '\n',   '\r',    '\t', '.',  '!',    '(',    0xE9,   0x17F,  0x301, 0x416, 0x663,
      0xB2, 0x2167, 0x4E00, 0xAC00, 0x1F600, 0x85, 0xA0, 0x3000, 0x200B, 0x2028, 0x180E, 0};
  base::RandomStream stream(seed, base::RandomUse::kGenerator);
  std::string text;
  const uint64_t length = 1 + stream.NextBelow(60);
  for (uint64_t i = 0; i < length; ++i) AppendUtf8(kAlphabet[stream.NextBelow(kAlphabet.size())], &text);
  return text;
}

// The scanners against a regular expression engine, over the patterns as their families publish them.
TEST(Scanner, EqualsTheRegularExpressions) {
  for (const KnownPattern pattern : {KnownPattern::kGpt2, KnownPattern::kQwen, KnownPattern::kLlama3}) {
    const auto regex = RegexSplitter::Compile(PatternRegex(pattern));
    ASSERT_TRUE(regex.ok()) << regex.status();
    for (uint64_t seed = 0; seed < 3000; ++seed) {
      const std::string text = RandomText(seed);
      std::vector<std::string> expected;
      (*regex)->Split(text, [&](size_t begin, size_t end, bool matched) {
        EXPECT_TRUE(matched);
        expected.push_back(text.substr(begin, end - begin));
      });
      ASSERT_EQ(Scan(pattern, text), expected) << "pattern " << static_cast<int>(pattern) << " seed " << seed;
    }
  }
}

TEST(Scanner, LooksAtNothingOutsideItsRange) {
  for (const KnownPattern pattern : {KnownPattern::kGpt2, KnownPattern::kQwen, KnownPattern::kLlama3}) {
    for (uint64_t seed = 0; seed < 500; ++seed) {
      const std::string before = RandomText(seed + 1), inside = RandomText(seed),
                        after = RandomText(seed + 2);
      const PieceRange range = {static_cast<uint32_t>(before.size()),
                                static_cast<uint32_t>(before.size() + inside.size())};
      const std::string text = before + inside + after;
      std::vector<PieceRange> found;
      SplitByPattern(pattern, text, range, &found);
      std::vector<std::string> pieces;
      for (const PieceRange& piece : found)
        pieces.push_back(text.substr(piece.begin, piece.end - piece.begin));
      ASSERT_EQ(pieces, Scan(pattern, inside)) << "pattern " << static_cast<int>(pattern) << " seed " << seed;
    }
  }
}

TEST(PreTokenizer, DigitsComeBeforeThePattern) {
  SplitStep digits;
  digits.kind = SplitStep::Kind::kDigits;
  EXPECT_THAT(SplitBySteps({digits, SplitStep()}, "x  12 y"), ElementsAre("x", "  ", "1", "2", " y"));
  EXPECT_THAT(SplitBySteps({SplitStep()}, "x  12 y"), ElementsAre("x", " ", " 12", " y"));
  digits.runs = true;
  EXPECT_THAT(SplitBySteps({digits, SplitStep()}, "x  12 y"), ElementsAre("x", "  ", "12", " y"));
}

TEST(PreTokenizer, PrefixSpaceGoesBeforeEachPiece) {
  SplitStep prefix, regex;
  prefix.kind = SplitStep::Kind::kPrefixSpace;
  regex.kind = SplitStep::Kind::kRegex;
  regex.regex = "-+";
  EXPECT_THAT(SplitBySteps({regex, prefix}, "a--b c"), ElementsAre(" a", " --", " b c"));
  regex.drop_gaps = true;
  EXPECT_THAT(SplitBySteps({regex}, "a--b-"), ElementsAre("--", "-"));
}

TEST(RegexSplitter, WhiteSpaceIsUnicodesAndErrorsNameTheReason) {
  SplitStep step;
  step.kind = SplitStep::Kind::kRegex;
  step.regex = R"([^\s]+|\s)";
  EXPECT_THAT(SplitBySteps({step},
                           "a\xE1\xA0\x8E"
                           "b\xC2\x85"),
              ElementsAre("a\xE1\xA0\x8E"
                          "b",
                          "\xC2\x85"));
  const auto broken = RegexSplitter::Compile("(a");
  ASSERT_FALSE(broken.ok());
  EXPECT_NE(Message(broken.status()).find("parenthesis"), std::string::npos) << broken.status();
}

}  // namespace
}  // namespace volery::text
