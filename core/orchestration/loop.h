#pragma once
// The loop of asynchronous RL over the interfaces of data/: admission, groups, rewards, refills, steps,
// evaluation, checkpoints. It knows no model, no engine and no file format.
//
//   VOLERY_ASSIGN_OR_RETURN(LoopResult result, RunLoop(options, parts, stop, finish));
//
// A step's groups are admitted once step - version <= max_staleness, so everything that is sampled is also
// trained on in time. `stop` ends the run at once with its reason; `finish` lets the step in progress end,
// writes a checkpoint and returns. The calling thread is the trainer's; the reward threads are started and
// joined inside.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/queue.h"
#include "core/base/threads.h"
#include "core/data/seams.h"
#include "core/orchestration/checkpoint.h"
#include "core/orchestration/evaluator.h"
#include "core/orchestration/rollout_writer.h"
#include "core/orchestration/step_ledger.h"

namespace volery::orchestration {

// Supervised steps on reference answers before RL, until the held-out sampled success rate is at least
// `until`.
struct WarmupOptions {
  double until = 0;  // 0: no warm-up
  int64_t max_steps = 200;
  int64_t examples = 64;    // a step
  int64_t check_every = 5;  // steps between two measurements
};

struct LoopOptions {
  int64_t steps = 1;
  uint64_t seed = 0;
  LedgerOptions rollout;     // groups, refills, staleness, sampling
  int64_t max_skipped = 10;  // skipped steps in a row that end the run: with an error, or well if all was solved
  int reward_threads = 2;
  int64_t checkpoint_every = 0;  // steps; 0: only at the end and when asked to finish
  EvalOptions eval;
  WarmupOptions warmup;
};

// What the run is doing, for the status line and the watchdog.
struct LoopView {
  enum class Phase { kWarmup, kEvaluating, kWaitingForBatch, kTraining, kSaving, kDone };
  Phase phase = Phase::kWaitingForBatch;
  int64_t step = 0, steps = 0;    // done, of all
  int64_t scored = 0, asked = 0;  // groups of the step (or the evaluation) in progress
  int round = 0;                  // refill round
  int64_t warmup_steps = 0;
  std::optional<double> warmup_success;
  std::optional<double> seconds_left;
  base::MetricRow last;             // metrics of the last step
  std::optional<double> last_eval;  // mean reward of the last evaluation
};
const char* PhaseName(LoopView::Phase phase);  // "waiting for rollouts", "training" ...

struct StepReport {
  StepId step;
  const StepGroups* groups = nullptr;
  const base::MetricRow* metrics = nullptr;
  std::string note;  // why it was skipped, or empty
};

// All called by the loop's thread; any may be empty.
struct LoopCallbacks {
  std::function<Status()> on_start;  // the state is restored and nothing was done yet; an error ends the run
  std::function<void(const LoopView&)> on_view;  // at every change, and a few times a second while waiting
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EvalResult&)> on_eval;
};

// Pointers are borrowed. Optional ones may be null.
struct LoopParts {
  std::shared_ptr<const data::TaskSource> tasks;
  std::shared_ptr<const data::TaskSource> held_out;  // optional: no evaluation, no warm-up
  data::RolloutSource* source = nullptr;
  data::WeightSink* weights = nullptr;
  data::Trainer* trainer = nullptr;
  data::Scorer* scorer = nullptr;
  std::vector<data::GroupFilter*> filters;
  base::MetricSink* metrics = nullptr;
  data::ModelWriter* models = nullptr;
  CheckpointStore* checkpoints = nullptr;  // optional
  RolloutWriter* rollouts = nullptr;       // optional
  // A task's reference answer as the model should say it, end token included. Warm-up only.
  std::function<StatusOr<std::vector<int32_t>>(const data::Task&)> encode_answer;
  std::optional<Checkpoint> resume_from;  // RunFolder::PrepareResume
  base::Clock* clock = &base::Clock::Real();
  base::Watchdog* watchdog = nullptr;  // optional
  LoopCallbacks callbacks;
};

struct LoopResult {
  StepId step;                       // steps done
  bool finished = false;             // false: asked to finish before the end
  bool solved = false;               // finished early: nothing was left to learn for max_skipped steps in a row
  int64_t skipped = 0;               // steps without an update
  int64_t rollouts = 0;              // trained on, over the whole run
  std::optional<double> first_eval;  // mean reward before step 0 (also of a resumed run)
  std::optional<EvalResult> last_eval;
  std::optional<Checkpoint> checkpoint;  // the newest
};

// Errors: the reason of the stop, the first failure of any thread, max_skipped steps without an update in a
// row (Aborted, after a checkpoint), a checkpoint that doesn't belong to these options.
StatusOr<LoopResult> RunLoop(const LoopOptions& options, const LoopParts& parts, base::StopToken stop,
                             base::StopToken finish);

}  // namespace volery::orchestration
