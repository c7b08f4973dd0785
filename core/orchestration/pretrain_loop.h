#pragma once
// The loop of next-token training over the interfaces of data/: steps, validation, checkpoints, resume. One
// thread, the caller's. Step s turns version s into s + 1 and reads TextStream::Step(s), so a checkpoint
// needs no more than the trainer's state and the step.
//
//   VOLERY_ASSIGN_OR_RETURN(PretrainResult result, RunPretrain(options, parts, stop, finish));
//
// `stop` ends the run with its reason after the step in progress; `finish` also writes a checkpoint. With
// several ranks every rank runs the loop; those above 0 have no metrics, models and checkpoints.

#include <functional>
#include <optional>
#include <string>

#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/base/queue.h"
#include "core/base/threads.h"
#include "core/data/text_stream.h"
#include "core/data/text_trainer.h"
#include "core/orchestration/checkpoint.h"

namespace volery::orchestration {

struct PretrainOptions {
  int64_t steps = 1;
  int64_t checkpoint_every = 0;  // steps; 0: only at the end and when asked to finish
  int64_t validate_every = 0;    // steps; 0: only at the start and the end
  int64_t max_skipped = 10;      // skipped steps in a row that end the run with an error
};

// What the run is doing, for the status line.
struct PretrainView {
  int64_t step = 0, steps = 0;
  std::string activity;  // "validating 3/8", "saving"; empty while training
  std::optional<double> loss, validation_loss, tokens_per_s, seconds_left;
};

struct ValidationReport {
  StepId step;  // = the version that was measured
  double loss = 0;
  double tokens = 0;
};

// All called by the loop's thread; any may be empty.
struct PretrainCallbacks {
  std::function<Status()> on_start;  // the state is restored and nothing was done yet; an error ends the run
  std::function<void(const PretrainView&)> on_view;
  std::function<void(StepId step, const std::string& note)> on_skip;
  std::function<void(const ValidationReport&)> on_validation;
};

// Pointers are borrowed. Optional ones may be null.
struct PretrainParts {
  const data::TextStream* text = nullptr;
  const data::TextStream* validation = nullptr;  // optional: its held-out windows are measured
  data::TextTrainer* trainer = nullptr;
  base::MetricSink* metrics = nullptr;     // optional
  data::ModelWriter* models = nullptr;     // of checkpoints
  CheckpointStore* checkpoints = nullptr;  // optional
  std::optional<Checkpoint> resume_from;   // RunFolder::PrepareResume
  base::Clock* clock = &base::Clock::Real();
  base::Watchdog* watchdog = nullptr;  // optional
  PretrainCallbacks callbacks;
};

struct PretrainResult {
  StepId step;            // steps done
  bool finished = false;  // false: asked to finish before the end
  std::optional<double> first_validation, last_validation;
  std::optional<Checkpoint> checkpoint;  // the newest
};

// Errors: the reason of the stop, a failure of trainer, disk or text, max_skipped steps in a row without an
// update (Aborted, after a checkpoint), a checkpoint of another text or other options.
StatusOr<PretrainResult> RunPretrain(const PretrainOptions& options, const PretrainParts& parts,
                                     const base::StopToken& stop, const base::StopToken& finish);

// The loop's own state in a checkpoint (loop.json).
struct PretrainState {
  StepId step;
  int64_t skipped = 0, skipped_in_a_row = 0;
  double tokens = 0;  // predicted, in all
  std::optional<double> first_validation;
  std::string text;  // TextStream::Fingerprint

  std::string ToJson() const;
  static StatusOr<PretrainState> FromJson(const std::string& text, const std::string& path);
};

}  // namespace volery::orchestration
