#pragma once
// The two seams where making rollouts and learning from them meet, RolloutSource and WeightSink, and the
// interfaces of what stands on either side: Trainer, Scorer, GroupFilter. The loop (orchestration/) knows
// only these.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/metrics.h"
#include "core/base/queue.h"
#include "core/data/engine.h"
#include "core/data/rollout.h"
#include "core/data/weights.h"

namespace volery::data {

// A group to sample: its id is known before it is admitted, its task is a pure function of (seed, id).
struct GroupSpec {
  GroupId id;
  std::shared_ptr<const Task> task;
  int32_t samples = 1;
  SamplingParams params;
};

struct SourceSupplies {
  bool logprobs = true;  // else the trainer recomputes them
  bool versions = true;
  bool hidden_rows = false;  // for proofs
};

// Makes rollouts: the in-process engine, a swarm's inbox, replayed files. Thread-safe.
class RolloutSource {
 public:
  virtual ~RolloutSource() = default;
  virtual SourceSupplies supplies() const = 0;
  // Hands over groups to sample, in this order. Never blocks on sampling.
  virtual Status Admit(std::vector<GroupSpec> groups) = 0;
  // The next finished group (unscored), in any order. Errors: the stop reason, DeadlineExceeded.
  virtual StatusOr<Group> Next(int64_t timeout_ms) = 0;
  // Work done since the last call (tokens, seconds idle), for metrics: "sampler/idle", "tokens_per_s" ...
  virtual base::MetricRow TakeMetrics() = 0;
};

// Receives weight versions: in-process hand-over, transports, checkpoint folders. Thread-safe.
class WeightSink {
 public:
  virtual ~WeightSink() = default;
  // Reads the version's tensors before it returns and never afterwards: they may be the trainer's own.
  virtual Status Publish(WeightVersionPtr version) = 0;
  // The caller wants nothing sampled until the next Publish: weights that are packed may go, to save memory.
  virtual void Rest() {}
};

enum class StepOutcome : uint8_t { kTrained, kSkippedNoSignal, kSkippedNotFinite };

struct StepResult {
  StepOutcome outcome = StepOutcome::kTrained;
  std::string reason;       // of a skip
  base::MetricRow metrics;  // grad_norm, lr, mismatch/*, drift_kl, ess, clip_frac_*, entropy, loss ...
};

// What a checkpoint needs of every trainer, whatever it learns from. One thread (the trainer's) calls it.
class StatefulTrainer {
 public:
  virtual ~StatefulTrainer() = default;
  virtual VersionId version() const = 0;
  // The weights as they are now. Valid until the next step: it may be the memory that the optimiser writes.
  virtual StatusOr<WeightVersionPtr> Snapshot() = 0;
  // Optimiser state, step counters and master weights, in files inside `folder`; Load checks names and
  // shapes.
  virtual Status SaveState(const std::string& folder) = 0;
  virtual Status LoadState(const std::string& folder) = 0;
};

// Turns version s into s + 1. One thread (the trainer's) calls everything. Rank 0 runs the loop; other ranks
// follow.
class Trainer : public StatefulTrainer {
 public:
  // Fills Group::advantages. Pure; thread-safe.
  virtual Status Advantages(Group& group) const = 0;
  // True if any advantage is non-zero (after Advantages). Pure; thread-safe.
  virtual bool HasSignal(const Group& group) const = 0;
  // A step always ends: version() grows by one, also when it is skipped (weights and Adam's state untouched
  // then).
  virtual StatusOr<StepResult> Step(const TrainBatch& batch) = 0;
  // Supervised step on sequences with a loss mask (warm-up); does not change version(). Returns the mean
  // token loss.
  virtual StatusOr<double> SupervisedStep(const std::vector<Rollout>& examples) = 0;
};

// Rewards a group in place (Rollout::score). Blocks; called from the reward threads. A failing reward is a
// status in the score, never an error here; an error here ends the run.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual Status ScoreGroup(Group& group, const base::StopToken& stop) = 0;
  // What rewards reported themselves since the last call: means by metric name.
  virtual base::MetricRow TakeMetrics() { return {}; }
};

// Decides whether a scored group may train. Reasons become dropped/<reason>.
class GroupFilter {
 public:
  virtual ~GroupFilter() = default;
  virtual std::optional<std::string> RejectReason(const Group& group) = 0;
};

// Writes a version as a model folder (Hugging Face layout) that volery and transformers load. Thread-safe.
class ModelWriter {
 public:
  virtual ~ModelWriter() = default;
  virtual Status Write(const std::string& folder, const WeightVersion& version) = 0;
};

// The tasks of a run by index; a dataset file or a seeded generator. Immutable, thread-safe.
class TaskSource {
 public:
  virtual ~TaskSource() = default;
  virtual int64_t size() const = 0;  // > 0
  virtual StatusOr<std::shared_ptr<const Task>> Get(int64_t index) const = 0;
};

}  // namespace volery::data
