#include "core/data/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/data/held_out.h"

namespace volery::data {
namespace {

using ::testing::HasSubstr;

TextCallbacks Bytes() {
  TextCallbacks text;
  text.encode = [](const std::string& words, bool) -> StatusOr<std::vector<int32_t>> {
    return std::vector<int32_t>(words.begin(), words.end());
  };
  return text;
}

std::shared_ptr<const TaskSource> Reverse(nlohmann::json options, uint64_t seed) {
  auto tasks = MakeGenerator("reverse", options, seed, Bytes());
  EXPECT_TRUE(tasks.ok()) << tasks.status();
  return *tasks;
}

TEST(ReverseTasks, PromptAndAnswerMirrorEachOther) {
  const auto tasks = Reverse({{"alphabet", "xyz"}, {"min_length", 2}, {"max_length", 4}, {"count", 300}}, 7);
  std::set<size_t> lengths;
  for (int64_t i = 0; i < tasks->size(); ++i) {
    const auto task = *tasks->Get(i);
    const std::string letters = task->prompt_text.substr(0, task->prompt_text.size() - 1);
    EXPECT_EQ(task->prompt_text.back(), '>');
    EXPECT_EQ(std::string(letters.rbegin(), letters.rend()), task->answer);
    EXPECT_EQ(letters.find_first_not_of("xyz"), std::string::npos);
    EXPECT_EQ(task->columns["answer"], task->answer);
    lengths.insert(letters.size());
  }
  EXPECT_EQ(lengths, (std::set<size_t>{2, 3, 4}));
}

TEST(ReverseTasks, APureFunctionOfSeedAndIndex) {
  const auto one = Reverse(nlohmann::json::object(), 1), again = Reverse(nlohmann::json::object(), 1),
             other = Reverse(nlohmann::json::object(), 2);
  int different = 0;
  for (int64_t i : {99, 3, 0, 50}) {
    EXPECT_EQ((*one->Get(i))->prompt_text, (*again->Get(i))->prompt_text);
    different += (*one->Get(i))->prompt_text != (*other->Get(i))->prompt_text;
  }
  EXPECT_GE(different, 3);
}

TEST(ReverseTasks, OptionsAreChecked) {
  const auto error = [](nlohmann::json options) {
    return Message(MakeGenerator("reverse", options, 0, Bytes()).status());
  };
  EXPECT_THAT(error({{"letters", "ab"}}), HasSubstr("unknown option \"letters\"; it has alphabet"));
  EXPECT_THAT(error({{"alphabet", "aa"}}), HasSubstr("none twice"));
  EXPECT_THAT(error({{"alphabet", "a>"}}), HasSubstr("without '>'"));
  EXPECT_THAT(error({{"min_length", 5}, {"max_length", 4}}), HasSubstr("at most max_length 4"));
  EXPECT_THAT(error({{"count", 0}}), HasSubstr("count must be in 1"));
  EXPECT_THAT(error({{"max_length", "4"}}), HasSubstr("must be an integer"));
  EXPECT_THAT(Message(MakeGenerator("sort", {}, 0, Bytes()).status()), HasSubstr("there is \"reverse\""));
}

TEST(HeldOut, NoHeldOutPromptIsTrainedOn) {
  const auto all = Reverse({{"alphabet", "abc"}, {"min_length", 2}, {"max_length", 4}, {"count", 400}}, 3);
  const auto split = SplitHeldOut(all, 20, 11);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->held_out->size(), 20);
  std::set<std::string> prompts;
  for (int64_t i = 0; i < 20; ++i) prompts.insert((*split->held_out->Get(i))->prompt_text);
  EXPECT_LT(split->train->size(), 380);  // repeated prompts leave too
  EXPECT_GT(split->train->size(), 100);
  for (int64_t i = 0; i < split->train->size(); ++i)
    EXPECT_FALSE(prompts.contains((*split->train->Get(i))->prompt_text));
}

TEST(HeldOut, ChosenByTheSeed) {
  const auto all = Reverse({{"count", 1000}, {"min_length", 8}, {"max_length", 8}}, 3);
  const auto first = [&](uint64_t seed) {
    std::vector<int64_t> rows;
    const auto split = *SplitHeldOut(all, 10, seed);
    for (int64_t i = 0; i < 10; ++i) rows.push_back((*split.held_out->Get(i))->index);
    return rows;
  };
  EXPECT_EQ(first(5), first(5));
  EXPECT_NE(first(5), first(6));
}

TEST(HeldOut, NeedsTasksOnBothSides) {
  const auto all = Reverse({{"count", 10}}, 3);
  EXPECT_THAT(Message(SplitHeldOut(all, 10, 0).status()), HasSubstr("would hold out all of the 10 tasks"));
  const auto none = SplitHeldOut(all, 0, 0);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->train->size(), 10);
  EXPECT_EQ(none->held_out, nullptr);
}

}  // namespace
}  // namespace volery::data
