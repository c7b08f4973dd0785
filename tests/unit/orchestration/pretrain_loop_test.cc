#include "core/orchestration/pretrain_loop.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace volery::orchestration {
namespace {

// Its weight is a function of all the tokens that it was given, in their order.
class FakeTextTrainer : public data::TextTrainer {
 public:
  StatusOr<data::StepResult> Step(const data::TextBatch& batch) override {
    if (on_step) on_step(version_);
    ++version_;
    data::StepResult result;
    result.metrics["tokens"] = 8;
    if (not_finite) {
      result.outcome = data::StepOutcome::kSkippedNotFinite;
      result.reason = "the loss is nan";
      return result;
    }
    for (const data::TrainSequence& sequence : batch.chunks[0].sequences) {
      for (int32_t token : sequence.tokens) weight_ = weight_ * 0.99 + 1e-3 * token;
    }
    result.metrics["loss"] = weight_;
    return result;
  }
  StatusOr<data::LossByPosition> Evaluate(const data::TextBatch& batch) override {
    data::LossByPosition losses;
    for (const data::TrainSequence& sequence : batch.chunks[0].sequences)
      losses.Add(1, version_ == diverged_from ? std::nan("") : weight_ + sequence.tokens[0]);
    if (no_labels) return data::LossByPosition();
    return losses;
  }
  VersionId version() const override { return VersionId(version_); }
  StatusOr<data::WeightVersionPtr> Snapshot() override {
    return data::WeightVersionPtr(std::make_shared<FakeVersion>(version(), weight_));
  }
  Status SaveState(const std::string& folder) override {
    const std::string bits(reinterpret_cast<const char*>(&weight_), sizeof weight_);
    return base::WriteFileAtomic(folder + "/state", Cat(version_, " ") + bits);
  }
  Status LoadState(const std::string& folder) override {
    VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(folder + "/state"));
    version_ = std::stoll(text);
    std::memcpy(&weight_, text.data() + text.find(' ') + 1, sizeof weight_);
    return OkStatus();
  }
  StatusOr<bool> AnyRank(bool mine) override { return mine; }

  std::function<void(int64_t)> on_step;
  bool not_finite = false, no_labels = false;
  int64_t diverged_from = -1;

 private:
  int64_t version_ = 0;
  double weight_ = 0.5;
};

data::TextStream Text(uint64_t seed = 3) {
  std::vector<int32_t> tokens(200);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  data::TextStreamOptions options;
  options.shape.context = 4;
  options.sequences = 2;
  options.seed = seed;
  options.held_out = 3;
  return *data::TextStream::Make(options, {{data::TokensInMemory({tokens}), "t", 1}});
}

struct Rig {
  explicit Rig(const std::string& folder) : checkpoints(folder, 2) {
    options.steps = 7;
    options.checkpoint_every = 2;
    options.validate_every = 3;
  }
  StatusOr<PretrainResult> Run() {
    PretrainParts parts;
    parts.text = parts.validation = &text;
    parts.trainer = &trainer;
    parts.metrics = &metrics;
    parts.models = &models;
    parts.checkpoints = &checkpoints;
    parts.resume_from = resume_from;
    parts.clock = &clock;
    return RunPretrain(options, parts, stop, finish);
  }
  data::TextStream text = Text();
  FakeTextTrainer trainer;
  FakeMetrics metrics;
  FakeModels models;
  CheckpointStore checkpoints;
  PretrainOptions options;
  base::FakeClock clock;
  base::StopToken stop, finish;
  std::optional<Checkpoint> resume_from;
};

std::vector<std::pair<int64_t, base::MetricRow>> Steady(const std::vector<Line>& lines, int64_t from = 0) {
  std::vector<std::pair<int64_t, base::MetricRow>> out;
  for (const Line& line : lines) {
    if (line.step < from) continue;
    out.emplace_back(line.step, line.row);
    out.back().second.erase("memory/peak");
  }
  return out;
}

TEST(PretrainLoop, ValidatesStepsAndSaves) {
  base::TemporaryFolder folder;
  Rig rig(folder.path());
  const StatusOr<PretrainResult> result = rig.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->finished);
  EXPECT_EQ(result->step, StepId(7));
  std::vector<std::pair<int64_t, bool>> order;
  for (const Line& line : rig.metrics.lines)
    order.emplace_back(line.step, line.row.contains("validation/loss"));
  const std::vector<std::pair<int64_t, bool>> expected = {{0, true}, {0, false}, {1, false}, {2, false},
                                                          {3, true}, {3, false}, {4, false}, {5, false},
                                                          {6, true}, {6, false}, {7, true}};
  EXPECT_EQ(order, expected);
  EXPECT_EQ(rig.metrics.lines.back().row.at("validation/loss"), *result->last_validation);
  EXPECT_EQ(*result->first_validation, 0.5 + (184 + 188 + 192) / 3.0);
  EXPECT_EQ(rig.metrics.lines[9].row.at("tokens_seen"), 56);
  std::vector<int64_t> saved;
  const std::vector<Checkpoint> all = *rig.checkpoints.List();
  for (const Checkpoint& checkpoint : all) saved.push_back(checkpoint.step.value);
  EXPECT_EQ(saved, (std::vector<int64_t>{6, 7}));
}

TEST(PretrainLoop, AResumedRunIsTheSameRun) {
  base::TemporaryFolder whole_folder, folder;
  Rig whole(whole_folder.path());
  ASSERT_TRUE(whole.Run().ok());
  Rig first(folder.path());
  first.trainer.on_step = [&](int64_t step) {
    if (step == 4) first.finish.RequestStop(CancelledError("stopped by Ctrl-C"));
  };
  const StatusOr<PretrainResult> stopped = first.Run();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  EXPECT_FALSE(stopped->finished);
  EXPECT_EQ(stopped->step, StepId(5));
  Rig second(folder.path());
  second.resume_from = *second.checkpoints.Newest();
  ASSERT_EQ(second.resume_from->step, StepId(5));
  const StatusOr<PretrainResult> result = second.Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Steady(second.metrics.lines), Steady(whole.metrics.lines, 5));
  EXPECT_EQ(*result->first_validation, *stopped->first_validation);
}

TEST(PretrainLoop, AnotherTextIsRefused) {
  base::TemporaryFolder folder;
  Rig first(folder.path());
  ASSERT_TRUE(first.Run().ok());
  Rig second(folder.path());
  second.text = Text(4);
  second.resume_from = *second.checkpoints.Newest();
  const Status status = second.Run().status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(status).find("seed 4"), std::string::npos);
}

TEST(PretrainLoop, StepsThatChangeNothingEndIt) {
  base::TemporaryFolder folder;
  Rig rig(folder.path());
  rig.trainer.not_finite = true;
  rig.options.max_skipped = 3;
  const Status status = rig.Run().status();
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_NE(Message(status).find("the loss is nan"), std::string::npos);
  EXPECT_EQ(rig.metrics.lines[1].note, "skipped: the loss is nan");
  EXPECT_EQ((*rig.checkpoints.Newest())->step, StepId(3));
}

TEST(PretrainLoop, AValidationThatSaysNothingEndsIt) {
  // Validated after steps 3, 6 and 7, saved after 2, 4, 6 and 7: the state that has diverged pushes no good one out.
  for (const auto& [step, newest] : std::map<int64_t, int64_t>{{3, 2}, {6, 4}, {7, 6}}) {
    base::TemporaryFolder folder;
    Rig later(folder.path());
    later.trainer.diverged_from = step;
    const Status status = later.Run().status();
    EXPECT_EQ(status.code(), StatusCode::kAborted);
    EXPECT_NE(Message(status).find(Cat("validation loss of version ", step, " is not finite")), std::string::npos) << status;
    EXPECT_EQ((*later.checkpoints.Newest())->step, StepId(newest));
    EXPECT_NE(Message(status).find(Cat("newest checkpoint is ", folder.path(), "/step_", newest)), std::string::npos) << status;
  }
  // Where it is what the run goes on from, the message says so.
  base::TemporaryFolder folder;
  Rig good(folder.path());
  good.options.steps = 6;
  ASSERT_TRUE(good.Run().ok());
  Rig bad(folder.path());
  bad.resume_from = *bad.checkpoints.Newest();
  bad.trainer.diverged_from = 6;
  EXPECT_NE(Message(bad.Run().status()).find("step_6 is this state; remove it"), std::string::npos);

  base::TemporaryFolder empty;
  Rig first(empty.path());
  first.trainer.diverged_from = 0;
  EXPECT_NE(Message(first.Run().status()).find("version 0 is not finite"), std::string::npos);
  Rig unlabelled(empty.path());
  unlabelled.trainer.no_labels = true;
  EXPECT_NE(Message(unlabelled.Run().status()).find("no token of the text held out"), std::string::npos);
  EXPECT_TRUE(first.checkpoints.List()->empty());
}

TEST(PretrainLoop, AStopEndsItWithItsReason) {
  base::TemporaryFolder folder;
  Rig rig(folder.path());
  rig.trainer.on_step = [&](int64_t step) {
    if (step == 2) rig.stop.RequestStop(InternalError("another thread broke"));
  };
  EXPECT_EQ(rig.Run().status(), InternalError("another thread broke"));
}

}  // namespace
}  // namespace volery::orchestration
