#include "core/orchestration/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace volery::orchestration {
namespace {

using ::testing::HasSubstr;

TEST(Loop, StalenessZeroIsSynchronous) {
  FakeRun run(0);
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->finished);
  EXPECT_EQ(result->step, StepId(6));
  EXPECT_EQ(run.trainer.version(), VersionId(6));
  EXPECT_EQ(run.trainer.oldest_age, 0);
  ASSERT_EQ(run.metrics.lines.size(), 6u);
  const auto& row = run.metrics.lines[2].row;
  for (const char* name : {"reward/mean", "reward/std", "reward/fake", "advantage/std", "groups/solved_all",
                           "groups/solved_none", "seq_len/mean", "seq_len/p90", "truncated", "staleness/mean",
                           "staleness/max", "loss", "time/wait_for_batch", "time/wait_for_weights",
                           "sampler/idle", "trainer/idle", "tokens_per_s", "memory/peak"}) {
    EXPECT_TRUE(row.contains(name)) << name;
  }
}

TEST(Loop, TheEngineRestsWithoutWeightsWhileAStepTrainsAtStalenessZero) {
  for (int64_t staleness : {0, 1}) {
    FakeRun run(staleness);
    std::vector<int> released;
    // The thread of the loop; the engine's count stands still since the loop let it rest.
    if (staleness == 0)
      run.trainer.on_step = [&](const data::TrainBatch&) { released.push_back(run.engine.released); };
    ASSERT_TRUE(run.Run().ok());
    for (size_t i = 1; i < released.size(); ++i) EXPECT_GT(released[i], released[i - 1]);
    EXPECT_EQ(run.engine.released > 0, staleness == 0);
  }
}

TEST(Loop, RepeatsBitForBitAtStalenessZero) {
  std::vector<std::string> lines;
  double weight = 0;
  for (uint64_t jitter : {0, 5, 6, 7}) {
    FakeRun run(0, jitter);
    run.options.reward_threads = 3;
    run.eval_tasks = 3;
    run.options.eval.every = 2;
    ASSERT_TRUE(run.Run().ok());
    if (jitter == 0) {
      lines = run.Repeatable();
      weight = run.trainer.weight();
      continue;
    }
    EXPECT_EQ(lines, run.Repeatable());
    EXPECT_EQ(weight, run.trainer.weight());
  }
}

// The trainer checks ids, order and ages on every step.
TEST(Loop, TheBoundHoldsWhateverTheTiming) {
  for (int64_t staleness : {0, 1, 2, 4}) {
    int64_t oldest = 0;
    for (uint64_t jitter = 1; jitter <= 6; ++jitter) {
      FakeRun run(staleness, jitter * 100);
      run.options.steps = 12;
      run.options.reward_threads = 2;
      const auto result = run.Run();
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(run.trainer.version(), VersionId(12));
      oldest = std::max(oldest, run.trainer.oldest_age);
      for (const Line& line : run.metrics.lines) {
        for (const auto& [name, value] : line.row) EXPECT_FALSE(name.starts_with("dropped/")) << name;
      }
    }
    EXPECT_LE(oldest, staleness);
    if (staleness > 0) {
      EXPECT_GT(oldest, 0) << "the sampler never ran ahead";
    }
  }
}

TEST(Loop, NothingIsAdmittedAheadOfTheBound) {
  FakeRun run(2);
  std::atomic<int64_t> version = 0;
  run.trainer.on_step = [&](const data::TrainBatch& batch) { version = batch.step.value; };
  run.scorer.before = [&](data::Group& group, const base::StopToken&) {
    EXPECT_LE(group.id.step() - version, 3);  // the step in training has not published yet
    return OkStatus();
  };
  ASSERT_TRUE(run.Run().ok());
}

TEST(Loop, StepsWithoutSignalAreSkippedAndCounted) {
  FakeRun run(1);
  run.scorer.Use([](const data::Group& group, const data::Rollout& rollout) {
    return group.id.step() % 2 == 0 ? FakeScorer::Ok(0) : FakeScorer::Coin(group, rollout);
  });
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->skipped, 3);
  EXPECT_EQ(run.trainer.version(), VersionId(6));
  EXPECT_THAT(run.metrics.lines[0].note, HasSubstr("skipped, no signal"));
  EXPECT_EQ(run.metrics.lines[0].row.at("groups/refill_rounds"), 3);
  EXPECT_EQ(run.metrics.lines[0].row.at("groups/solved_none"), 1);
  EXPECT_EQ(run.metrics.lines[1].note, "");
}

TEST(Loop, TenSkippedStepsInARowEndTheRunAfterACheckpoint) {
  const base::TemporaryFolder folder;
  FakeRun run(1);
  run.options.steps = 50;
  run.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  run.scorer.Use([](const data::Group&, const data::Rollout&) { return FakeScorer::Ok(0.5); });
  const Status status = run.Run().status();
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_THAT(Message(status),
              HasSubstr("10 steps in a row changed nothing, the last one was step 9 (no signal"));
  EXPECT_EQ(run.metrics.lines.size(), 10u);

  FakeRun again(1);
  again.options.steps = 12;
  again.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  again.resume_from = *again.checkpoints->Newest();
  ASSERT_TRUE(again.resume_from.has_value());
  EXPECT_EQ(again.resume_from->step, StepId(10));
  EXPECT_THAT(Message(status), HasSubstr(again.resume_from->path));
  EXPECT_TRUE(again.Run().ok());
}

TEST(Loop, WhenEveryRolloutIsSolvedTheRunIsFinishedEarly) {
  FakeRun run(1);
  run.options.steps = 50;
  run.eval_tasks = 2;
  run.scorer.Use([](const data::Group& group, const data::Rollout& rollout) {
    return group.id.step() < 2 ? FakeScorer::Coin(group, rollout) : FakeScorer::Ok(1);
  });
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->finished);
  EXPECT_TRUE(result->solved);
  EXPECT_EQ(result->step, StepId(12));
  ASSERT_TRUE(result->last_eval.has_value());
  EXPECT_EQ(result->last_eval->version, VersionId(12));
}

TEST(Loop, StepsThatAreNotFiniteEndTheRunToo) {
  FakeRun run(0);
  run.options.steps = 50;
  run.options.max_skipped = 3;
  run.trainer.not_finite = true;
  EXPECT_THAT(
      Message(run.Run().status()),
      HasSubstr("3 steps in a row changed nothing, the last one was step 2 (not finite: the loss is nan)"));
  EXPECT_THAT(run.metrics.lines.back().note, HasSubstr("not finite: the loss is nan"));
}

TEST(Loop, FailedRewardsAreLeftOutAndCounted) {
  FakeRun run(0);
  run.scorer.Use([](const data::Group& group, const data::Rollout& rollout) {
    data::Score score = FakeScorer::Coin(group, rollout);
    if (rollout.sample == 1) {
      score.status = data::RewardStatus::kError;
      score.message = "no such file";
    }
    return score;
  });
  run.trainer.on_step = [](const data::TrainBatch& batch) {
    for (const auto& group : batch.groups) {
      EXPECT_EQ(group.rollouts.size(), 3u);
      EXPECT_EQ(group.advantages.size(), 3u);
      for (const auto& rollout : group.rollouts) EXPECT_NE(rollout.sample, 1);
    }
  };
  ASSERT_TRUE(run.Run().ok());
  EXPECT_GE(run.metrics.lines[0].row.at("dropped/reward_error"), 3);
}

TEST(Loop, FiltersReplaceGroups) {
  struct OddTasks : data::GroupFilter {
    std::optional<std::string> RejectReason(const data::Group& group) override {
      return group.task->index % 2 == 1 ? std::optional<std::string>("odd") : std::nullopt;
    }
  } filter;
  FakeRun run(1);
  run.filters = {&filter};
  run.trainer.on_step = [](const data::TrainBatch& batch) {
    for (const auto& group : batch.groups) EXPECT_EQ(group.task->index % 2, 0);
  };
  ASSERT_TRUE(run.Run().ok());
  double dropped = 0;
  for (const Line& line : run.metrics.lines) {
    if (line.row.contains("dropped/odd")) dropped += line.row.at("dropped/odd");
  }
  EXPECT_GT(dropped, 0);
}

TEST(Loop, EvaluatesAtTheStartEveryNStepsAndAtTheEnd) {
  FakeRun run(2, 9);
  run.options.steps = 7;
  run.options.eval.every = 3;
  run.eval_tasks = 5;
  std::vector<int64_t> versions;
  run.callbacks.on_eval = [&](const EvalResult& result) {
    versions.push_back(result.version.value);
    EXPECT_EQ(result.tasks, 5);
    EXPECT_EQ(result.samples, 10);
    EXPECT_EQ(result.examples.size(), 4u);
  };
  // Every rollout of an evaluation is of the version it is for.
  run.scorer.before = [](data::Group& group, const base::StopToken&) {
    if (group.id.round() != kEvalRound) return OkStatus();
    for (const auto& rollout : group.rollouts) {
      for (int64_t version : rollout.Versions()) EXPECT_TRUE(version == -1 || version == group.id.step());
      EXPECT_EQ(rollout.OldestVersion().value, group.id.step());
    }
    return OkStatus();
  };
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(versions, (std::vector<int64_t>{0, 3, 6, 7}));
  EXPECT_TRUE(result->first_eval.has_value());
  EXPECT_EQ(result->last_eval->version, VersionId(7));
  EXPECT_TRUE(run.metrics.lines[0].row.contains("eval/held_out/avg@2"));
  EXPECT_TRUE(run.metrics.lines[0].row.contains("eval/held_out/pass@2"));
}

TEST(Loop, WarmupEndsAtTheMeasuredRate) {
  FakeRun run(0);
  run.eval_tasks = 4;
  run.options.warmup = {.until = 0.5, .max_steps = 40, .examples = 3, .check_every = 2};
  run.scorer.Use([&](const data::Group& group, const data::Rollout& rollout) {
    if (group.id.round() != kWarmupRound) return FakeScorer::Coin(group, rollout);
    return FakeScorer::Ok(group.id.step() >= 6 ? 1 : 0);
  });
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(run.trainer.supervised, 6);
  EXPECT_EQ(run.metrics.lines[0].row.at("warmup/steps"), 6);
  EXPECT_EQ(run.metrics.lines[0].row.at("warmup/success"), 1);
}

TEST(Loop, WarmupIsBounded) {
  FakeRun run(0);
  run.eval_tasks = 4;
  run.options.warmup = {.until = 0.5, .max_steps = 5, .examples = 3, .check_every = 2};
  run.scorer.Use([](const data::Group& group, const data::Rollout& rollout) {
    return group.id.round() == kWarmupRound ? FakeScorer::Ok(0) : FakeScorer::Coin(group, rollout);
  });
  ASSERT_TRUE(run.Run().ok());
  EXPECT_EQ(run.trainer.supervised, 5);
}

TEST(Loop, WarmupNeedsHeldOutTasks) {
  FakeRun run(0);
  run.options.warmup.until = 0.5;
  EXPECT_THAT(Message(run.Run().status()), HasSubstr("eval.tasks"));
}

TEST(Loop, ReportsWhatItIsDoing) {
  FakeRun run(1);
  run.eval_tasks = 2;
  std::set<std::string> phases;
  LoopView last;
  run.callbacks.on_view = [&](const LoopView& view) {
    phases.insert(PhaseName(view.phase));
    last = view;
  };
  ASSERT_TRUE(run.Run().ok());
  for (const char* phase : {"evaluating", "waiting for rollouts", "training", "done"})
    EXPECT_TRUE(phases.contains(phase)) << phase;
  EXPECT_EQ(last.step, 6);
  EXPECT_TRUE(last.last.contains("reward/mean"));
  EXPECT_TRUE(last.seconds_left.has_value());
}

}  // namespace
}  // namespace volery::orchestration
