// The rewards that ship with volery, through the host as a run uses them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/plugin/plugin_host.h"
#include "core/plugin/reward_pool.h"

namespace volery::plugin {
namespace {

using data::RewardStatus;
using ::testing::HasSubstr;

class Judge {
 public:
  Judge(const std::string& name, const nlohmann::json& options)
      : plugin_(PluginHost().LoadReward(name, options, {}).value()) {}

  RewardResult Full(const std::string& completion, const std::string& answer,
                    const nlohmann::json& columns = nullptr) {
    RewardSample sample;
    sample.completion = completion;
    sample.answer = answer;
    if (columns.is_object()) sample.columns = std::make_shared<const nlohmann::json>(columns);
    return pool_.Score({plugin_, {sample}}).value()[0];
  }
  double operator()(const std::string& completion, const std::string& answer,
                    const nlohmann::json& columns = nullptr) {
    const RewardResult result = Full(completion, answer, columns);
    EXPECT_EQ(result.status, RewardStatus::kOk) << result.message;
    return result.score;
  }

 private:
  std::shared_ptr<RewardPlugin> plugin_;
  RewardPool pool_{{.threads = 1}, base::StopToken()};
};

std::string Refusal(const std::string& name, const nlohmann::json& options) {
  return Message(PluginHost().LoadReward(name, options, {}).status());
}

TEST(ReverseText, ExactPaysForTheAnswerAlone) {
  Judge judge("reverse_text", {});
  EXPECT_EQ(judge("cba", "cba"), 1);
  EXPECT_EQ(judge(" cba\n", "cba"), 1);
  EXPECT_EQ(judge("cb", "cba"), 0);
  EXPECT_EQ(judge("", "cba"), 0);
  EXPECT_EQ(judge.Full("", "").status, RewardStatus::kError);
  EXPECT_EQ(Judge("reverse_text", {{"trim", false}})(" cba", "cba"), 0);
}

TEST(ReverseText, ReversesASourceColumnByCodePoint) {
  Judge judge("reverse_text", {{"source_column", "text"}});
  EXPECT_EQ(judge("\xc3\xa9t", "", {{"text", "t\xc3\xa9"}}), 1);
  EXPECT_EQ(judge("abc", "", {{"text", "abc"}}), 0);
  EXPECT_THAT(judge.Full("abc", "").message, HasSubstr("no column \"text\""));
}

TEST(ReverseText, LcsIsSequenceMatchersRatio) {
  const auto cases = nlohmann::json::parse(
      base::ReadFile(VOLERY_SOURCE_DIR "/tests/golden/rewards/sequence_matcher.json").value());
  Judge judge("reverse_text", {{"mode", "lcs"}, {"trim", false}});
  ASSERT_GT(cases.size(), 80u);
  for (const auto& entry : cases)
    EXPECT_EQ(judge(entry["completion"], entry["answer"]), entry["ratio"].get<double>()) << entry.dump();
}

TEST(ReverseText, ReadsATagAndRefusesBadOptions) {
  Judge judge("reverse_text", {{"mode", "lcs"}, {"tag", "answer"}});
  EXPECT_EQ(judge("I think <answer> cba </answer>", "cba"), 1);
  EXPECT_EQ(judge("cba", "cba"), 0);
  EXPECT_THAT(Refusal("reverse_text", {{"mode", "fuzzy"}}), HasSubstr("it must be exact or lcs"));
  EXPECT_THAT(Refusal("reverse_text", {{"answer_column", "a"}, {"source_column", "b"}}),
              HasSubstr("not both"));
}

TEST(Format, CountsWhitespaceSeparatedWords) {
  Judge judge("format", {{"words", 3}});
  EXPECT_EQ(judge("one two three", ""), 1);
  EXPECT_EQ(judge("  one\ttwo\n\nthree ", ""), 1);
  EXPECT_EQ(judge("one two", ""), 0);
  EXPECT_EQ(judge("one two three four", ""), 0);
  EXPECT_EQ(judge("", ""), 0);
}

TEST(Format, TakesEachTasksNumberFromItsColumn) {
  Judge judge("format", {{"words_column", "words"}});
  EXPECT_EQ(judge("a b", "", {{"words", 2}}), 1);
  EXPECT_EQ(judge("a b", "", {{"words", "2"}}), 1);
  EXPECT_EQ(judge("a b", "", {{"words", 3}}), 0);
  EXPECT_EQ(judge("", "", {{"words", 0}}), 1);
  EXPECT_THAT(judge.Full("a", "", {{"words", "two"}}).message, HasSubstr("no whole number: \"two\""));
  EXPECT_THAT(judge.Full("a", "", {{"words", 2.5}}).message, HasSubstr("no whole number"));
  EXPECT_THAT(judge.Full("a", "", {{"other", 1}}).message, HasSubstr("no column \"words\""));
}

TEST(Format, WantsExactlyOneTagPair) {
  Judge judge("format", {{"words", 2}, {"tag", "answer"}});
  EXPECT_EQ(judge("so <answer>a b</answer> it is", ""), 1);
  EXPECT_EQ(judge("<answer>a b c</answer>", ""), 0);
  EXPECT_EQ(judge("a b", ""), 0);
  EXPECT_EQ(judge("<answer>a b", ""), 0);
  EXPECT_EQ(judge("</answer>a b<answer>", ""), 0);
  EXPECT_EQ(judge("<answer>a b</answer><answer>a b</answer>", ""), 0);
  Judge any("format", {{"tag", "answer"}});
  EXPECT_EQ(any("<answer>yes indeed so</answer>", ""), 1);
  EXPECT_EQ(any("<answer> </answer>", ""), 0);
}

TEST(Format, RefusesOptionsThatCheckNothing) {
  EXPECT_THAT(Refusal("format", {}), HasSubstr("nothing to check"));
  EXPECT_THAT(Refusal("format", {{"words", -1}}), HasSubstr("negative"));
  EXPECT_THAT(Refusal("format", {{"words", 1}, {"words_column", "n"}}), HasSubstr("not both"));
  EXPECT_THAT(Refusal("format", {{"word", 1}}), HasSubstr("did you mean \"words\"?"));
}

TEST(NumericAnswer, ReadsTheLastNumber) {
  Judge judge("numeric_answer", {});
  EXPECT_EQ(judge("She has 3 + 4 = 7 apples.", "7"), 1);
  EXPECT_EQ(judge("The answer is 8", "7"), 0);
  EXPECT_EQ(judge("no number here", "7"), 0);
  EXPECT_EQ(judge("$1,234.50", "1234.5"), 1);
  EXPECT_EQ(judge("007", "7.0"), 1);
  EXPECT_EQ(judge("-5", "-5"), 1);
  EXPECT_EQ(judge("-$5", "-5"), 1);
  EXPECT_EQ(judge("10-5", "5"), 1);
  EXPECT_EQ(judge("-0", "0"), 1);
  EXPECT_EQ(judge(".5", "0.5"), 1);
  EXPECT_EQ(judge("1e3", "1000"), 1);
  EXPECT_EQ(judge("1,2", "2"), 1);
  EXPECT_EQ(judge("1,2345", "2345"), 1);
  EXPECT_EQ(judge("1,234,567", "1234567"), 1);
  EXPECT_EQ(judge("12345678901234567891", "12345678901234567890"), 0);
}

TEST(NumericAnswer, ReadsWhatFollowsTheMark) {
  Judge judge("numeric_answer", {});
  EXPECT_EQ(judge("2 + 2 = 4\n#### 4", "He adds 2 and 2.\n#### 4"), 1);
  EXPECT_EQ(judge("#### 4\nthen #### 5 is it", "#### 5"), 1);
  EXPECT_EQ(judge("it is 4 ####", "#### 4"), 0);
  EXPECT_EQ(judge.Full("4", "no number").status, RewardStatus::kError);
}

TEST(NumericAnswer, HasToleranceTagAndColumn) {
  Judge judge("numeric_answer", {{"tolerance", 0.01}, {"column", "final"}, {"tag", "answer"}});
  EXPECT_EQ(judge("<answer>3.141</answer> 9", "", {{"final", 3.1416}}), 1);
  EXPECT_EQ(judge("<answer>3.2</answer>", "", {{"final", 3.1416}}), 0);
  EXPECT_EQ(judge("3.141", "", {{"final", 3.1416}}), 0);
  EXPECT_THAT(Refusal("numeric_answer", {{"tolerance", -1.0}}), HasSubstr("negative"));
}

}  // namespace
}  // namespace volery::plugin
