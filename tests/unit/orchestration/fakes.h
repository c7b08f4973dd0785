#pragma once
// A deterministic trainer, scorer and the rest, beside the engine of fake_engine.h. The trainer checks on
// every step what the loop promises: groups in the order of ids, nothing twice, nothing staler than the
// bound.

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "core/base/files.h"
#include "core/data/seams.h"
#include "core/orchestration/engine_source.h"
#include "core/orchestration/loop.h"
#include "fake_engine.h"

namespace volery::orchestration {

class FakeTrainer : public data::Trainer {
 public:
  explicit FakeTrainer(int64_t max_staleness, uint64_t jitter = 0)
      : max_staleness_(max_staleness), jitter_(jitter) {}

  Status Advantages(data::Group& group) const override {
    double mean = 0;
    for (const auto& rollout : group.rollouts) mean += rollout.score.total;
    mean /= static_cast<double>(group.rollouts.size());
    group.advantages.clear();
    for (const auto& rollout : group.rollouts) group.advantages.push_back(rollout.score.total - mean);
    return OkStatus();
  }
  bool HasSignal(const data::Group& group) const override {
    return std::any_of(group.advantages.begin(), group.advantages.end(), [](double a) { return a != 0; });
  }
  StatusOr<data::StepResult> Step(const data::TrainBatch& batch) override {
    jitter_();
    if (on_step) on_step(batch);
    EXPECT_EQ(batch.step.value, version_);
    CheckBatch(batch);
    ++version_;
    data::StepResult result;
    if (fail_step == batch.step.value) return InternalError("the trainer broke");
    if (batch.groups.empty() || not_finite) {
      result.outcome =
          not_finite ? data::StepOutcome::kSkippedNotFinite : data::StepOutcome::kSkippedNoSignal;
      result.reason = not_finite ? "the loss is nan" : "no advantage";
      return result;
    }
    for (const auto& group : batch.groups) {
      for (size_t i = 0; i < group.rollouts.size(); ++i) {
        double sum = 0;
        for (float logprob : group.rollouts[i].Logprobs()) sum += logprob;
        for (int32_t token : group.rollouts[i].Tokens()) sum += 1e-3 * token;
        weight_ += 1e-3 * group.advantages[i] * sum;
      }
    }
    result.metrics["loss"] = weight_;
    return result;
  }
  StatusOr<double> SupervisedStep(const std::vector<data::Rollout>& examples) override {
    for (const auto& example : examples) {
      EXPECT_EQ(example.LossMask().back(), 1);
      EXPECT_EQ(example.LossMask().front(), 0);
    }
    weight_ += 1.0;
    ++supervised;
    return 1.0 / supervised;
  }
  VersionId version() const override { return VersionId(version_); }
  StatusOr<data::WeightVersionPtr> Snapshot() override {
    return std::make_shared<FakeVersion>(version(), weight_);
  }
  Status SaveState(const std::string& folder) override {
    if (disk_full) return ResourceError(folder, "/state: No space left on device");
    nlohmann::json state = {{"version", version_}, {"weight", weight_}, {"supervised", supervised}};
    return base::WriteFileAtomic(folder + "/state", state.dump());
  }
  Status LoadState(const std::string& folder) override {
    VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(folder + "/state"));
    const auto state = nlohmann::json::parse(text);
    version_ = state["version"];
    weight_ = state["weight"];
    supervised = state["supervised"];
    return OkStatus();
  }

  double weight() const { return weight_; }
  std::set<uint64_t> trained;
  std::vector<GroupId> order;
  int64_t oldest_age = 0;
  int supervised = 0;
  int64_t fail_step = -1;
  bool not_finite = false, disk_full = false;
  std::function<void(const data::TrainBatch&)> on_step;

 private:
  void CheckBatch(const data::TrainBatch& batch) {
    for (size_t i = 0; i < batch.groups.size(); ++i) {
      const data::Group& group = batch.groups[i];
      if (i > 0) {
        EXPECT_LT(batch.groups[i - 1].id, group.id);
      }
      EXPECT_EQ(group.id.step(), batch.step.value);
      EXPECT_TRUE(trained.insert(group.id.bits).second) << "trained twice";
      order.push_back(group.id);
      for (const auto& rollout : group.rollouts) {
        const int64_t age = batch.step.value - rollout.OldestVersion().value;
        EXPECT_GE(age, 0);
        EXPECT_LE(age, max_staleness_);
        oldest_age = std::max(oldest_age, age);
      }
    }
  }

  int64_t max_staleness_, version_ = 0;
  double weight_ = 0.5;
  Jitter jitter_;
};

// Rewards each rollout by a function of it; thread-safe if the function is.
class FakeScorer : public data::Scorer {
 public:
  using Reward = std::function<data::Score(const data::Group&, const data::Rollout&)>;
  explicit FakeScorer(Reward reward, uint64_t jitter = 0) : reward_(std::move(reward)), jitter_(jitter) {}
  static data::Score Ok(double total) {
    data::Score score;
    score.total = total;
    score.components = {{"fake", total}};
    return score;
  }
  // A coin that the tokens toss.
  static data::Score Coin(const data::Group&, const data::Rollout& rollout) {
    int64_t sum = 0;
    for (int32_t token : rollout.Tokens()) sum += token;
    return Ok(sum % 2 == 0 ? 1.0 : 0.0);
  }
  Status ScoreGroup(data::Group& group, const base::StopToken& stop) override {
    jitter_();
    if (before) VOLERY_RETURN_IF_ERROR(before(group, stop));
    for (auto& rollout : group.rollouts) rollout.score = reward_(group, rollout);
    return OkStatus();
  }
  void Use(Reward reward) { reward_ = std::move(reward); }
  std::function<Status(data::Group&, const base::StopToken&)> before;

 private:
  Reward reward_;
  Jitter jitter_;
};

struct Line {
  int64_t step;
  base::MetricRow row;
  std::string note;
};

class FakeMetrics : public base::MetricSink {
 public:
  Status Write(StepId step, const base::MetricRow& row, const std::string& note) override {
    lines.push_back({step.value, row, note});
    return OkStatus();
  }
  Status Flush() override { return OkStatus(); }
  std::vector<Line> lines;
};

class FakeModels : public data::ModelWriter {
 public:
  Status Write(const std::string& folder, const data::WeightVersion& version) override {
    return base::WriteFileAtomic(folder + "/model", Cat(static_cast<const FakeVersion&>(version).weight()));
  }
};

class FakeTasks : public data::TaskSource {
 public:
  explicit FakeTasks(int64_t size, int32_t first_token = 1) : size_(size), first_(first_token) {}
  int64_t size() const override { return size_; }
  StatusOr<std::shared_ptr<const data::Task>> Get(int64_t index) const override {
    data::Task task;
    task.index = index;
    task.id = Cat(index);
    task.prompt_text = Cat("task ", index);
    task.answer = Cat(index % 3);
    task.prompt = {first_, static_cast<int32_t>(index)};
    return std::make_shared<const data::Task>(std::move(task));
  }

 private:
  int64_t size_;
  int32_t first_;
};

// Everything a run needs; make one per process life.
struct FakeRun {
  explicit FakeRun(int64_t staleness, uint64_t jitter = 0)
      : engine(4, jitter),
        trainer(staleness, jitter == 0 ? 0 : jitter + 1),
        scorer(FakeScorer::Coin, jitter == 0 ? 0 : jitter + 2) {
    options.steps = 6;
    options.seed = 11;
    options.rollout.groups_per_step = 3;
    options.rollout.group_size = 4;
    options.rollout.max_staleness = staleness;
    options.rollout.sampling.max_new_tokens = 6;
    options.rollout.sampling.seed = 11;
    options.eval.sampling = options.rollout.sampling;
    options.eval.samples = 2;
    source_options.decode = [](std::vector<int32_t> tokens, data::StopReason stop) -> StatusOr<std::string> {
      if (stop == data::StopReason::kStop && !tokens.empty()) tokens.pop_back();
      std::string text;
      for (int32_t token : tokens) text += static_cast<char>('0' + token);
      return text;
    };
    source_options.max_sequences = 4;
  }
  StatusOr<LoopResult> Run() {
    EngineSource source(engine, source_options, stop);
    LoopParts parts;
    parts.tasks = std::make_shared<FakeTasks>(20);
    if (eval_tasks > 0) parts.held_out = std::make_shared<FakeTasks>(eval_tasks, 2);
    parts.source = &source;
    parts.weights = &source;
    parts.trainer = &trainer;
    parts.scorer = &scorer;
    parts.filters = filters;
    parts.metrics = &metrics;
    parts.models = &models;
    parts.checkpoints = checkpoints.get();
    parts.rollouts = rollouts.get();
    parts.encode_answer = [](const data::Task&) -> StatusOr<std::vector<int32_t>> {
      return std::vector<int32_t>{5, 0};
    };
    parts.resume_from = resume_from;
    parts.callbacks = callbacks;
    parts.watchdog = watchdog;
    return RunLoop(options, parts, stop, finish);
  }
  // Metrics without times, rates and memory: what must repeat bit for bit.
  std::vector<std::string> Repeatable() const {
    std::vector<std::string> out;
    for (const Line& line : metrics.lines) {
      std::string text = Cat(line.step, " ", line.note);
      for (const auto& [name, value] : line.row) {
        const bool timed = name.starts_with("time/") || name.ends_with("/idle") || name == "tokens_per_s" ||
                           name == "memory/peak";
        if (!timed) text += nlohmann::json({name, value}).dump();
      }
      out.push_back(text);
    }
    return out;
  }

  LoopOptions options;
  EngineSourceOptions source_options;
  base::StopToken stop, finish;
  FakeEngine engine;
  FakeTrainer trainer;
  FakeScorer scorer;
  FakeMetrics metrics;
  FakeModels models;
  std::vector<data::GroupFilter*> filters;
  std::unique_ptr<CheckpointStore> checkpoints;
  std::unique_ptr<RolloutWriter> rollouts;
  std::optional<Checkpoint> resume_from;
  LoopCallbacks callbacks;
  base::Watchdog* watchdog = nullptr;
  int64_t eval_tasks = 0;
};

}  // namespace volery::orchestration
