#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/orchestration/evaluator.h"
#include "core/orchestration/inspect.h"
#include "core/orchestration/plugin_scorer.h"
#include "core/orchestration/rollout_writer.h"
#include "core/orchestration/step_metrics.h"
#include "core/base/memory.h"
#include "fakes.h"

namespace volery::orchestration {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

data::Rollout MakeRollout(GroupId id, int32_t sample, double reward, std::vector<int32_t> tokens,
                          int64_t version) {
  data::Rollout rollout;
  rollout.group = id;
  rollout.sample = sample;
  rollout.completion = Cat("said \xff ", sample);
  rollout.score = FakeScorer::Ok(reward);
  data::Span prompt, sampled;
  prompt.tokens = {7, 8};
  sampled.origin = data::SpanOrigin::kSampled;
  sampled.logprobs.assign(tokens.size(), -0.25f);
  sampled.versions = {{0, VersionId(version), VersionId(version)},
                      {1, VersionId(version + 1), VersionId(version)}};
  sampled.tokens = std::move(tokens);
  rollout.spans = {prompt, sampled};
  return rollout;
}

StepGroups TwoGroups() {
  StepGroups step;
  step.step = StepId(5);
  data::Group trained, rest;
  trained.id = GroupId::Make(5, 1, 0);
  trained.task = *FakeTasks(9).Get(3);
  trained.rollouts = {MakeRollout(trained.id, 0, 1, {1, 2, 0}, 4), MakeRollout(trained.id, 1, 0, {1, 0}, 3)};
  trained.rollouts[1].stop = data::StopReason::kLength;
  trained.advantages = {0.5, -0.5};
  rest.id = GroupId::Make(5, 0, 0);
  rest.task = *FakeTasks(9).Get(4);
  rest.rollouts = {MakeRollout(rest.id, 0, 2, {1, 1}, 5), MakeRollout(rest.id, 1, 2, {1, 3}, 5)};
  rest.advantages = {0, 0};
  step.train = {trained};
  step.rest = {rest};
  step.dropped["reward_error"] = 2;
  step.refill_rounds = 1;
  return step;
}

TEST(StepMetrics, NumbersOfAStep) {
  const base::MetricRow row = StepMetrics(TwoGroups());
  EXPECT_DOUBLE_EQ(row.at("reward/mean"), 5.0 / 4);
  EXPECT_DOUBLE_EQ(row.at("reward/fake"), 5.0 / 4);
  EXPECT_NEAR(row.at("reward/std"), 0.82915619758885, 1e-12);
  EXPECT_DOUBLE_EQ(row.at("groups/solved_all"), 0.5);
  EXPECT_DOUBLE_EQ(row.at("groups/solved_none"), 0.0);
  EXPECT_DOUBLE_EQ(row.at("seq_len/mean"), 17.0 / 4);
  EXPECT_DOUBLE_EQ(row.at("seq_len/p90"), 5);
  EXPECT_DOUBLE_EQ(row.at("truncated"), 0.25);
  EXPECT_DOUBLE_EQ(row.at("advantage/std"), 0.5);
  EXPECT_DOUBLE_EQ(row.at("staleness/mean"), 1.5);
  EXPECT_DOUBLE_EQ(row.at("staleness/max"), 2);
  EXPECT_DOUBLE_EQ(row.at("dropped/reward_error"), 2);
  EXPECT_DOUBLE_EQ(row.at("groups/trained"), 1);
  EXPECT_GT(base::PeakMemoryBytes(), 1'000'000);
}

TEST(StepMetrics, NothingScoredLeavesFiguresOut) {
  const base::MetricRow row = StepMetrics({});
  EXPECT_FALSE(row.contains("reward/mean"));
  EXPECT_EQ(row.at("groups/trained"), 0);
}

TEST(RolloutFiles, WrittenAndReadBack) {
  base::TemporaryFolder folder;
  RolloutFileWriter writer(folder.path(), 11);
  ASSERT_TRUE(writer.Write(TwoGroups()).ok());
  const auto file = base::MappedFile::Open(RolloutPath(folder.path(), StepId(5)));
  ASSERT_TRUE(file.ok());
  const auto table = formats::DecodeRollouts((*file)->bytes(), "t");
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 4u);
  EXPECT_EQ((*table)[0].group_id, GroupId::Make(5, 0, 0).bits);  // in the order of ids
  const formats::RolloutRow& row = (*table)[2];
  EXPECT_THAT(row.input_tokens, ElementsAre(7, 8));
  EXPECT_THAT(row.output_tokens, ElementsAre(1, 2, 0));
  EXPECT_THAT(*row.output_logprobs, ElementsAre(-0.25f, -0.25f, -0.25f));
  EXPECT_THAT(row.versions, ElementsAre(4, 5, 5));
  EXPECT_EQ(row.advantages, 0.5f);
  EXPECT_EQ(row.step, 4);
  EXPECT_EQ(row.problem_id, "3");
  EXPECT_EQ(row.completion, "said \xEF\xBF\xBD 0");
  EXPECT_EQ(row.stop_reason, "stop");
  EXPECT_THAT(*SampledCompletions(folder.path()), ElementsAre("said \xEF\xBF\xBD 0", "said \xEF\xBF\xBD 1"));
}

TEST(Inspect, OverviewAndOneGroup) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(RolloutFileWriter(folder.path(), 11).Write(TwoGroups()).ok());
  const auto overview = InspectStep(folder.path(), StepId(5), {});
  ASSERT_TRUE(overview.ok()) << overview.status();
  EXPECT_THAT(*overview, HasSubstr("group 0  round 0  task 4  samples 2  reward 2.000  not trained"));
  EXPECT_THAT(*overview, HasSubstr("group 1  round 1  task 3  samples 2  reward 0.500  trained"));
  InspectOptions options;
  options.group = 1;
  options.token_text = [](int32_t token) { return Cat("<", token, ">"); };
  const auto group = InspectStep(folder.path(), StepId(5), options);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_THAT(*group, HasSubstr("prompt, 2 tokens:\ntask 3\n"));
  EXPECT_THAT(*group, HasSubstr("sample 1: reward 0.000, advantage -0.500, 2 tokens, length"));
  EXPECT_THAT(*group, HasSubstr("fake 1.000"));
  EXPECT_THAT(*group, HasSubstr("2  log-prob -0.2500  version 5  \"<2>\""));
}

TEST(Inspect, WhatIsNotThere) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(RolloutFileWriter(folder.path(), 11).Write(TwoGroups()).ok());
  EXPECT_THAT(Message(InspectStep(folder.path(), StepId(6), {}).status()),
              HasSubstr("the run has: step_5.parquet"));
  EXPECT_THAT(Message(InspectStep(folder.path(), StepId(5), {.group = 2, .token_text = {}}).status()),
              HasSubstr("has 2 groups, numbered from 0"));
}

TEST(Inspect, ADamagedRewardFileIsNamed) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(RolloutFileWriter(folder.path(), 11).Write(TwoGroups()).ok());
  ASSERT_TRUE(base::WriteFileAtomic(RewardPath(folder.path(), StepId(5)), "{\"sample\": 1}\n").ok());
  EXPECT_THAT(Message(InspectStep(folder.path(), StepId(5), {}).status()),
              HasSubstr("step_5.rewards.jsonl:1"));
}

TEST(BestConstantAnswer, TheOneThatPaysMost) {
  FakeScorer scorer([](const data::Group& group, const data::Rollout& rollout) {
    return FakeScorer::Ok(rollout.completion == group.task->answer ? 1 : 0);
  });
  const FakeTasks tasks(10);  // answers 0 1 2 0 1 2 0 1 2 0
  const auto best = BestConstantAnswer({"7", "1", "0", "2"}, tasks, scorer, {});
  ASSERT_TRUE(best.ok()) << best.status();
  EXPECT_EQ(best->text, "0");
  EXPECT_DOUBLE_EQ(best->score, 0.4);
  EXPECT_FALSE(BestConstantAnswer({}, tasks, scorer, {}).ok());
}

TEST(PluginScorer, CombinesRewards) {
  plugin::RewardResult good, part, failed, other;
  good.status = data::RewardStatus::kOk;
  good.score = 0.5;
  good.components = {{"length", 3}};
  good.ms = 2;
  other.status = data::RewardStatus::kNotApplicable;
  failed.status = data::RewardStatus::kTimeout;
  failed.message = "after 10 s";
  data::Score score = CombineStart();
  EXPECT_EQ(score.status, data::RewardStatus::kNotApplicable);
  Combine("other", 1, other, score);
  EXPECT_EQ(score.status, data::RewardStatus::kNotApplicable);
  Combine("format", 2, good, score);
  EXPECT_EQ(score.status, data::RewardStatus::kOk);
  EXPECT_DOUBLE_EQ(score.total, 1.0);
  ASSERT_EQ(score.components.size(), 2u);
  EXPECT_EQ(score.components[1].name, "format/length");
  Combine("slow", 1, failed, score);
  Combine("format", 1, good, score);
  EXPECT_EQ(score.status, data::RewardStatus::kTimeout);
  EXPECT_EQ(score.message, "slow: after 10 s");
  EXPECT_DOUBLE_EQ(score.ms, 4);
}

}  // namespace
}  // namespace volery::orchestration
