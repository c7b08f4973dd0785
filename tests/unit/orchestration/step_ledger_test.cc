#include "core/orchestration/step_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace volery::orchestration {
namespace {

using ::testing::ElementsAre;

struct Bench {
  Bench() {
    options.groups_per_step = 3;
    options.group_size = 2;
    options.max_refill = 2;
    ledger = std::make_unique<StepLedger>(options, LedgerParts{std::make_shared<FakeTasks>(10), &trainer, {}},
                                          5, stop);
  }
  // Scores a spec's group: with signal, or without.
  std::vector<data::GroupSpec> Give(const data::GroupSpec& spec, bool signal) {
    data::Group group;
    group.id = spec.id;
    group.task = spec.task;
    for (int32_t i = 0; i < spec.samples; ++i) {
      data::Rollout rollout;
      rollout.group = spec.id;
      rollout.sample = i;
      rollout.score = FakeScorer::Ok(signal && i == 0 ? 1 : 0);
      group.rollouts.push_back(rollout);
    }
    return *ledger->OnScored(std::move(group));
  }
  static std::vector<GroupId> Ids(const std::vector<data::Group>& groups) {
    std::vector<GroupId> ids;
    for (const auto& group : groups) ids.push_back(group.id);
    return ids;
  }
  LedgerOptions options;
  base::StopToken stop;
  FakeTrainer trainer{0};
  std::unique_ptr<StepLedger> ledger;
};

TEST(StepLedger, HandsOverInTheOrderOfIds) {
  Bench bench;
  const auto specs = *bench.ledger->Open(StepId(4));
  ASSERT_EQ(specs.size(), 3u);
  EXPECT_EQ(specs[2].id, GroupId::Make(4, 0, 2));
  EXPECT_EQ(specs[0].samples, 2);
  for (size_t i : {2, 0, 1}) EXPECT_TRUE(bench.Give(specs[i], true).empty());
  const auto step = bench.ledger->Wait(StepId(4), 0);
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_THAT(Bench::Ids(step->train), ElementsAre(specs[0].id, specs[1].id, specs[2].id));
}

TEST(StepLedger, ReplacesGroupsOnceAllAreScored) {
  Bench bench;
  const auto specs = *bench.ledger->Open(StepId(0));
  EXPECT_TRUE(bench.Give(specs[0], false).empty());
  EXPECT_TRUE(bench.Give(specs[1], true).empty());
  const auto refills = bench.Give(specs[2], false);
  ASSERT_EQ(refills.size(), 2u);
  EXPECT_EQ(refills[0].id, GroupId::Make(0, 1, 0));
  EXPECT_EQ(refills[1].id, GroupId::Make(0, 1, 1));
  EXPECT_EQ(bench.ledger->Wait(StepId(0), 0).status().code(), StatusCode::kDeadlineExceeded);
  bench.Give(refills[1], true);
  const auto more = bench.Give(refills[0], false);
  ASSERT_EQ(more.size(), 1u);
  EXPECT_EQ(more[0].id, GroupId::Make(0, 2, 0));
  EXPECT_TRUE(bench.Give(more[0], true).empty());
  const auto step = bench.ledger->Wait(StepId(0), 0);
  EXPECT_THAT(Bench::Ids(step->train), ElementsAre(specs[1].id, refills[1].id, more[0].id));
  EXPECT_THAT(Bench::Ids(step->rest), ElementsAre(specs[0].id, specs[2].id, refills[0].id));
  EXPECT_EQ(step->refill_rounds, 2);
}

TEST(StepLedger, TrainsOnWhatHasSignalAfterTheLastRound) {
  Bench bench;
  auto specs = *bench.ledger->Open(StepId(0));
  bench.Give(specs[0], true);
  bench.Give(specs[1], false);
  specs = bench.Give(specs[2], false);
  for (int round = 1; round <= 2; ++round) {
    ASSERT_EQ(specs.size(), 2u);
    bench.Give(specs[0], false);
    specs = bench.Give(specs[1], false);
  }
  EXPECT_TRUE(specs.empty());
  EXPECT_EQ(bench.ledger->Wait(StepId(0), 0)->train.size(), 1u);
}

TEST(StepLedger, GroupsNobodyAskedForChangeNothing) {
  Bench bench;
  const auto specs = *bench.ledger->Open(StepId(0));
  bench.Give(specs[0], true);
  bench.Give(specs[0], true);  // twice
  data::GroupSpec other = specs[1];
  other.id = GroupId::Make(9, 0, 0);  // no such step
  bench.Give(other, true);
  other.id = GroupId::Make(0, 1, 0);  // no such round yet
  bench.Give(other, true);
  EXPECT_EQ(bench.ledger->unknown_groups(), 3);
  EXPECT_EQ(bench.ledger->ProgressOf(StepId(0)).scored, 1);
}

TEST(StepLedger, StaleAndFailedRolloutsAreCountedByReason) {
  Bench bench;
  const auto specs = *bench.ledger->Open(StepId(3));
  for (const auto& spec : specs) {
    data::Group group;
    group.id = spec.id;
    group.task = spec.task;
    for (int32_t i = 0; i < 5; ++i) {
      data::Rollout rollout;
      rollout.sample = i;
      rollout.score = FakeScorer::Ok(i);
      group.rollouts.push_back(rollout);
    }
    group.rollouts[0].score.status = data::RewardStatus::kTimeout;
    group.rollouts[0].score.message = "too slow";
    group.rollouts[1].stop = data::StopReason::kCancelled;
    data::Span sampled;
    sampled.origin = data::SpanOrigin::kSampled;
    sampled.tokens = {1};
    sampled.versions = {{0, VersionId(3), VersionId(2)}};  // one older than the bound of 0 allows
    group.rollouts[2].spans = {sampled};
    ASSERT_TRUE(bench.ledger->OnScored(std::move(group)).ok());
  }
  const auto step = bench.ledger->Wait(StepId(3), 0);
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->dropped,
            (std::map<std::string, int64_t>{{"reward_timeout", 3}, {"cancelled", 3}, {"stale", 3}}));
  EXPECT_EQ(step->train[0].rollouts.size(), 2u);
  EXPECT_EQ(step->failure, "too slow");
}

TEST(StepLedger, AStopWakesTheWaiter) {
  Bench bench;
  ASSERT_TRUE(bench.ledger->Open(StepId(0)).ok());
  std::thread stopper([&] { bench.stop.RequestStop(CancelledError("enough")); });
  EXPECT_EQ(Message(bench.ledger->Wait(StepId(0), -1).status()), "enough");
  stopper.join();
}

}  // namespace
}  // namespace volery::orchestration
