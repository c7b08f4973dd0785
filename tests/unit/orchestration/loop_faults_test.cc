// A failing thread ends the run with its error, a stop ends it in every stage, and a resume goes on as if
// nothing had been.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace volery::orchestration {
namespace {

using ::testing::HasSubstr;

TEST(LoopFaults, TheEnginesErrorEndsTheRun) {
  FakeRun run(2, 3);
  run.engine.fail_step = VersionId(2);
  const Status status = run.Run().status();
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_EQ(Message(status), "sampler thread: the engine broke");
}

TEST(LoopFaults, AnExceptionEndsTheRun) {
  FakeRun run(0);
  run.engine.throw_step = true;
  EXPECT_EQ(Message(run.Run().status()), "sampler thread: the engine threw");
}

TEST(LoopFaults, AFailedPackingEndsTheRun) {
  FakeRun run(1);
  run.engine.fail_prepare = true;
  EXPECT_EQ(Message(run.Run().status()), "no memory for packing");
}

TEST(LoopFaults, TheTrainersErrorEndsTheRun) {
  FakeRun run(1, 4);
  run.trainer.fail_step = 3;
  EXPECT_EQ(Message(run.Run().status()), "step 3: the trainer broke");
}

TEST(LoopFaults, TheScorersErrorEndsTheRun) {
  FakeRun run(1, 4);
  run.scorer.before = [](data::Group& group, const base::StopToken&) {
    return group.id.step() == 2 ? InternalError("the reward child can't start") : OkStatus();
  };
  const Status status = run.Run().status();
  EXPECT_THAT(Message(status), HasSubstr("the reward child can't start"));
  EXPECT_THAT(Message(status), HasSubstr("step 2"));
}

TEST(LoopFaults, ARewardThreadsExceptionEndsTheRun) {
  FakeRun run(1);
  run.scorer.before = [](data::Group&, const base::StopToken&) -> Status {
    throw std::runtime_error("thrown");
  };
  EXPECT_THAT(Message(run.Run().status()), HasSubstr("reward"));
}

TEST(LoopFaults, ARolloutWritersErrorEndsTheRun) {
  struct Full : RolloutWriter {
    Status Write(const StepGroups&) override {
      return ResourceError("rollouts/step_0.parquet: No space left on device");
    }
  };
  FakeRun run(1);
  run.rollouts = std::make_unique<Full>();
  EXPECT_THAT(Message(run.Run().status()), HasSubstr("No space left"));
}

enum class Stage { kWarmup, kEvaluation, kSampling, kScoring, kTraining };

// Calls `act` once, on whatever thread is in that stage.
void ActAt(FakeRun& run, Stage stage, std::function<void()> act) {
  auto once = std::make_shared<std::atomic<bool>>(false);
  const auto fire = [once, act] {
    if (!once->exchange(true)) act();
  };
  run.eval_tasks = 3;
  run.options.eval.every = 2;
  run.options.warmup = {.until = 0.01, .max_steps = 3, .examples = 2, .check_every = 1};
  const auto round_is = [stage](int round) {
    return (stage == Stage::kWarmup && round == kWarmupRound) ||
           (stage == Stage::kEvaluation && round == kEvalRound) || (stage == Stage::kScoring && round == 0);
  };
  run.scorer.before = [fire, round_is](data::Group& group, const base::StopToken&) {
    if (round_is(group.id.round())) fire();
    return OkStatus();
  };
  if (stage == Stage::kTraining) run.trainer.on_step = [fire](const data::TrainBatch&) { fire(); };
  if (stage == Stage::kSampling) run.engine.on_step = fire;
}

TEST(LoopFaults, AStopEndsEveryStageAtOnce) {
  for (Stage stage :
       {Stage::kWarmup, Stage::kEvaluation, Stage::kSampling, Stage::kScoring, Stage::kTraining}) {
    FakeRun run(1, 8);
    ActAt(run, stage, [&] { run.stop.RequestStop(CancelledError("stopped by Ctrl-C")); });
    const Status status = run.Run().status();
    EXPECT_EQ(status.code(), StatusCode::kCancelled) << static_cast<int>(stage);
    EXPECT_EQ(Message(status), "stopped by Ctrl-C");
  }
}

TEST(LoopFaults, AskedToFinishItSavesInEveryStage) {
  for (Stage stage :
       {Stage::kWarmup, Stage::kEvaluation, Stage::kSampling, Stage::kScoring, Stage::kTraining}) {
    base::TemporaryFolder folder;
    FakeRun run(1, 8);
    run.options.steps = 100;
    run.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
    ActAt(run, stage, [&] { run.finish.RequestStop(CancelledError("Ctrl-C")); });
    const auto result = run.Run();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_FALSE(result->finished);
    EXPECT_LE(result->step, StepId(2));
    ASSERT_TRUE(result->checkpoint.has_value());
    EXPECT_EQ(result->checkpoint->step, result->step);
    EXPECT_TRUE(VerifyCheckpoint(result->checkpoint->path).ok());
  }
}

TEST(LoopFaults, ALastEvaluationThatIsCutShortIsMadeUpForByAResume) {
  base::TemporaryFolder folder;
  FakeRun run(1);
  run.eval_tasks = 3;
  run.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  run.callbacks.on_view = [&](const LoopView& view) {
    const bool last = view.phase == LoopView::Phase::kEvaluating && view.step == run.options.steps;
    if (last) run.finish.RequestStop(CancelledError("Ctrl-C"));
  };
  // Its rewards take until the run ends, so it can't be over before it is cut short.
  run.scorer.before = [&](data::Group& group, const base::StopToken& stop) -> Status {
    if (group.id.round() != kEvalRound || group.id.step() != run.options.steps) return OkStatus();
    base::BoundedQueue<int> never(1, stop);
    return never.Pop().status();
  };
  const auto result = run.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->finished);
  EXPECT_EQ(result->step, StepId(run.options.steps));
  EXPECT_FALSE(result->last_eval.has_value());

  FakeRun second(1);
  second.eval_tasks = 3;
  second.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  second.resume_from = *second.checkpoints->Newest();
  const auto rest = second.Run();
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_TRUE(rest->finished);
  ASSERT_TRUE(rest->last_eval.has_value());
  EXPECT_EQ(rest->last_eval->version, VersionId(run.options.steps));
}

TEST(LoopFaults, AResumeBeforeStepZeroKeepsTheWarmup) {
  base::TemporaryFolder folder;
  FakeRun run(0);
  run.options.steps = 2;
  run.options.checkpoint_every = 1;
  run.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  ActAt(run, Stage::kWarmup, [&] { run.finish.RequestStop(CancelledError("Ctrl-C")); });
  run.options.warmup.check_every = 1;
  ASSERT_TRUE(run.Run().ok());

  const auto resumed = [&](FakeRun& next) {
    next.options = run.options;
    next.eval_tasks = run.eval_tasks;
    next.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
    next.resume_from = *next.checkpoints->Newest();
    return next.Run();
  };
  FakeRun warm(0), after(0);
  warm.callbacks.on_eval = [&](const EvalResult&) { warm.finish.RequestStop(CancelledError("Ctrl-C")); };
  ASSERT_TRUE(resumed(warm).ok());
  EXPECT_EQ(warm.trainer.version(), VersionId(0));
  ASSERT_TRUE(resumed(after).ok());
  EXPECT_EQ(after.metrics.lines.front().row, warm.metrics.lines.front().row);
  EXPECT_TRUE(after.metrics.lines.front().row.contains("warmup/success"));
}

TEST(LoopFaults, AScorerThatNeverAnswersIsStoppable) {
  FakeRun run(1);
  run.scorer.before = [&](data::Group&, const base::StopToken& stop) -> Status {
    base::BoundedQueue<int> never(1, stop);
    run.stop.RequestStop(CancelledError("second Ctrl-C"));
    return never.Pop().status();
  };
  EXPECT_EQ(Message(run.Run().status()), "second Ctrl-C");
}

TEST(LoopFaults, AFullDiskLeavesTheOldCheckpoint) {
  base::TemporaryFolder folder;
  FakeRun run(0);
  run.options.checkpoint_every = 2;
  run.checkpoints = std::make_unique<CheckpointStore>(folder.path(), 2);
  run.callbacks.on_step = [&](const StepReport& report) { run.trainer.disk_full = report.step.value >= 3; };
  const Status status = run.Run().status();
  EXPECT_FALSE(IsInputError(status));
  EXPECT_THAT(Message(status), HasSubstr("No space left on device"));
  EXPECT_THAT(Message(status), HasSubstr("--resume"));
  const auto newest = CheckpointStore(folder.path(), 2).Newest();
  ASSERT_TRUE(newest.ok() && newest->has_value());
  EXPECT_EQ((*newest)->step, StepId(2));
  EXPECT_THAT(*base::ListFolder(folder.path()), ::testing::ElementsAre("step_2"));
}

struct Outcome {
  double weight;
  std::vector<std::string> lines;
  std::vector<GroupId> order;
};

void Configure(FakeRun& run, const std::string& folder) {
  run.options.steps = 8;
  run.options.checkpoint_every = 3;
  run.eval_tasks = 3;
  run.options.eval.every = 3;
  run.options.warmup = {.until = 0.01, .max_steps = 6, .examples = 2, .check_every = 2};
  run.checkpoints = std::make_unique<CheckpointStore>(folder, 3);
}

// Runs until `step` is trained, asks to finish, resumes in fresh objects; metrics are cut back as the sinks
// do it.
Outcome WithAStop(int64_t staleness, int64_t step, uint64_t jitter) {
  base::TemporaryFolder folder;
  FakeRun first(staleness, jitter);
  Configure(first, folder.path());
  first.trainer.on_step = [&](const data::TrainBatch& batch) {
    if (batch.step.value == step) first.finish.RequestStop(CancelledError("Ctrl-C"));
  };
  EXPECT_TRUE(first.Run().ok());
  FakeRun second(staleness, jitter == 0 ? 0 : jitter + 50);
  Configure(second, folder.path());
  second.resume_from = *second.checkpoints->Newest();
  EXPECT_EQ(second.resume_from->step, StepId(step + 1));
  for (const Line& line : first.metrics.lines) {
    if (line.step < second.resume_from->step.value) second.metrics.lines.push_back(line);
  }
  const auto result = second.Run();
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->first_eval.has_value());
  for (uint64_t id : first.trainer.trained)
    EXPECT_FALSE(second.trainer.trained.contains(id)) << "trained twice";
  Outcome outcome{second.trainer.weight(), second.Repeatable(), first.trainer.order};
  outcome.order.insert(outcome.order.end(), second.trainer.order.begin(), second.trainer.order.end());
  return outcome;
}

TEST(Resume, EqualsNeverStoppedAtStalenessZero) {
  base::TemporaryFolder folder;
  FakeRun whole(0);
  Configure(whole, folder.path());
  ASSERT_TRUE(whole.Run().ok());
  for (int64_t step : {0, 1, 2, 4, 6}) {
    const Outcome stopped = WithAStop(0, step, static_cast<uint64_t>(step));
    EXPECT_EQ(stopped.weight, whole.trainer.weight()) << step;
    EXPECT_EQ(stopped.lines, whole.Repeatable()) << step;
    EXPECT_EQ(stopped.order, whole.trainer.order) << step;
  }
}

// The trainers check ages and that nothing is trained twice.
TEST(Resume, TheBoundHoldsAcrossIt) {
  for (uint64_t jitter = 1; jitter <= 4; ++jitter) {
    for (int64_t step : {0, 3, 5}) {
      const Outcome outcome = WithAStop(2, step, jitter * 1000);
      EXPECT_EQ(outcome.order.back().step(), 7);
    }
  }
}

TEST(Resume, ContinuesAnUnfinishedWarmup) {
  base::TemporaryFolder folder;
  const auto make = [&](FakeRun& run) {
    Configure(run, folder.path());
    run.options.warmup = {.until = 0.5, .max_steps = 50, .examples = 2, .check_every = 2};
    run.scorer.Use([](const data::Group& group, const data::Rollout& rollout) {
      if (group.id.round() != kWarmupRound) return FakeScorer::Coin(group, rollout);
      return FakeScorer::Ok(group.id.step() >= 8 ? 1 : 0);
    });
  };
  FakeRun first(0);
  make(first);
  first.scorer.before = [&](data::Group& group, const base::StopToken&) {
    if (group.id.round() == kWarmupRound && group.id.step() == 4)
      first.finish.RequestStop(CancelledError("Ctrl-C"));
    return OkStatus();
  };
  ASSERT_TRUE(first.Run().ok());
  EXPECT_EQ(first.trainer.supervised, 4);
  FakeRun second(0);
  make(second);
  second.resume_from = *second.checkpoints->Newest();
  ASSERT_TRUE(second.Run().ok());
  EXPECT_EQ(second.trainer.supervised, 8);
}

TEST(Resume, AnotherRecipeIsRefused) {
  base::TemporaryFolder folder;
  FakeRun first(0);
  Configure(first, folder.path());
  ASSERT_TRUE(first.Run().ok());
  FakeRun second(0);
  Configure(second, folder.path());
  second.resume_from = *second.checkpoints->Newest();
  second.options.rollout.groups_per_step = 4;
  const Status status = second.Run().status();
  EXPECT_TRUE(IsInputError(status));
  EXPECT_THAT(Message(status), HasSubstr("rollout.groups_per_step 3, but the recipe says 4"));
}

TEST(Resume, AFinishedRunOnlyEvaluates) {
  base::TemporaryFolder folder;
  FakeRun first(0);
  Configure(first, folder.path());
  ASSERT_TRUE(first.Run().ok());
  FakeRun second(0);
  Configure(second, folder.path());
  second.resume_from = *second.checkpoints->Newest();
  const auto result = second.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->finished);
  EXPECT_TRUE(second.trainer.trained.empty());
  EXPECT_EQ(result->last_eval->version, VersionId(8));
}

TEST(LoopFaults, TheWatchdogNamesWhatEachThreadWaitsFor) {
  base::FakeClock clock;
  base::Watchdog watchdog(60'000, clock);
  FakeRun run(1);
  run.watchdog = run.source_options.watchdog = &watchdog;
  std::optional<std::string> report;
  std::mutex mutex;
  run.scorer.before = [&](data::Group& group, const base::StopToken&) {
    std::lock_guard lock(mutex);
    if (group.id.step() != 1 || report) return OkStatus();
    clock.AdvanceMs(61'000);
    report = watchdog.Check();
    return OkStatus();
  };
  ASSERT_TRUE(run.Run().ok());
  ASSERT_TRUE(report.has_value());
  for (const char* name : {"sampler", "trainer", "reward threads: "}) EXPECT_THAT(*report, HasSubstr(name));
}

}  // namespace
}  // namespace volery::orchestration
