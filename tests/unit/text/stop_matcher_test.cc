#include "core/text/stop_matcher.h"

#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/base/random.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "core/text/simple_tokenizers.h"
#include "core/text/world_tokenizer.h"
#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

using Texts = std::vector<std::string>;

std::shared_ptr<const StopRules> Rules(const Texts& texts, std::vector<int32_t> ids = {257},
                                       std::shared_ptr<const Tokenizer> tokenizer = BytesTokenizer()) {
  const auto rules = StopRules::Make(std::move(tokenizer), std::move(ids), texts);
  EXPECT_TRUE(rules.ok()) << rules.status();
  return *rules;
}

// How many bytes are fed before the text ends; -1: it doesn't.
int64_t EndOf(const std::shared_ptr<const StopRules>& rules, const std::string& text) {
  StopMatcher matcher(rules);
  for (size_t i = 0; i < text.size(); ++i) {
    if (matcher.Push(static_cast<unsigned char>(text[i])) == Stop::kText) return static_cast<int64_t>(i) + 1;
  }
  return -1;
}

TEST(StopMatcher, EndsAtAnIdOrAtAText) {
  StopMatcher matcher(Rules({"\n\nUser:"}, {257, 7}));
  EXPECT_EQ(matcher.Push('a'), Stop::kNone);
  StopMatcher fork = matcher;
  EXPECT_EQ(matcher.Push(257), Stop::kId);
  EXPECT_EQ(fork.Push(7), Stop::kId);
  EXPECT_EQ(EndOf(Rules({"\n\nUser:"}), "4\n\nUser:x"), 8);
  EXPECT_EQ(EndOf(Rules({"\n\nUser:"}), "\n\n\n\nUser\n\nUser:"), 15);
  EXPECT_EQ(EndOf(Rules({"\n\nUser:"}), "\nUser: \n\n User:"), -1);
  EXPECT_EQ(EndOf(Rules({}), "anything"), -1);
}

TEST(StopMatcher, AForkGoesOnFromWhereItsOriginStood) {
  StopMatcher matcher(Rules({"ab"}));
  EXPECT_EQ(matcher.Push('a'), Stop::kNone);
  StopMatcher fork = matcher;
  EXPECT_EQ(matcher.Push('x'), Stop::kNone);
  EXPECT_EQ(matcher.Push('b'), Stop::kNone);
  EXPECT_EQ(fork.Push('b'), Stop::kText);
}

TEST(StopMatcher, FindsTextsAcrossAndInsideOfTokens) {
  const auto file =
      base::ReadFile(std::string(VOLERY_SOURCE_DIR) + "/third_party/rwkv_world/rwkv_vocab_v20230424.txt");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::shared_ptr<const Tokenizer> world = *WorldTokenizer(*file, "the vocabulary");
  const auto rules = Rules({"\n\nUser:"}, {0}, world);
  for (const std::string text : {" 4\n\nUser: and", " 4.\n\n\n\nUser:", " {\n    x\n}\n\nUser:Users",
                                 "\xE4\xB8\xAD\xE3\x80\x82\n\nUser:\xE4\xBD\xA0"}) {
    StopMatcher matcher(rules);
    std::vector<int32_t> fed;
    Stop stop = Stop::kNone;
    for (const int32_t id : world->Encode(text)) {
      fed.push_back(id);
      stop = matcher.Push(id);
      if (stop != Stop::kNone) break;
    }
    EXPECT_EQ(stop, Stop::kText) << text;
    const std::string decoded = world->Decode(fed, false);
    EXPECT_EQ(rules->BeforeStop(decoded), text.substr(0, text.find("\n\nUser:"))) << text;
  }
  StopMatcher glued(Rules({"\n\n"}, {0}, world));
  EXPECT_EQ(glued.Push(*world->IdOf("\n\n\n")), Stop::kText);
  StopMatcher ended(rules);
  EXPECT_EQ(ended.Push(0), Stop::kId);
}

TEST(StopMatcher, SeesTextAsDecodeWritesIt) {
  const std::shared_ptr<const Tokenizer> pieces =
      *SentencePieceTokenizer(GoldenText("sp_bpe.model"), "sp_bpe.model", {});
  const auto rules = Rules({" hello"}, {2}, pieces);
  StopMatcher matcher(rules);
  Stop first = Stop::kNone, second = Stop::kNone;
  for (const int32_t id : pieces->Encode("hello")) first = matcher.Push(id);
  for (const int32_t id : pieces->Encode("hello")) second = matcher.Push(id);
  EXPECT_EQ(first, Stop::kNone);  // the text begins without its space
  EXPECT_EQ(second, Stop::kText);
}

TEST(StopMatcher, EqualsASearchInTheWholeText) {
  base::RandomStream stream(11, base::RandomUse::kGenerator);
  const auto random = [&](size_t most) {
    std::string text(1 + stream.NextBelow(most), '\0');
    for (char& c : text) c = static_cast<char>('a' + stream.NextBelow(2));
    return text;
  };
  for (int round = 0; round < 500; ++round) {
    Texts texts(1 + stream.NextBelow(4));
    for (std::string& text : texts) text = random(6);
    const auto rules = Rules(texts);
    const std::string text = random(40);
    size_t end = std::string::npos, begin = text.size();
    for (const std::string& stop : texts) {
      const size_t at = text.find(stop);
      if (at == std::string::npos || at + stop.size() > end) continue;
      begin = at + stop.size() < end ? at : std::min(begin, at);
      end = at + stop.size();
    }
    ASSERT_EQ(EndOf(rules, text), end == std::string::npos ? -1 : static_cast<int64_t>(end));
    ASSERT_EQ(rules->BeforeStop(text), text.substr(0, begin));
  }
}

TEST(StopRules, RefusesTextsThatCannotBeMeant) {
  EXPECT_NE(Message(StopRules::Make(BytesTokenizer(), {}, {"a", ""}).status()).find("stop text 1 is empty"),
            std::string::npos);
  EXPECT_NE(
      Message(StopRules::Make(BytesTokenizer(), {}, {"\xFF"}).status()).find("stop text 0 is not UTF-8"),
      std::string::npos);
}

}  // namespace
}  // namespace volery::text
