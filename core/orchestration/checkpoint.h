#pragma once
// Checkpoint folders: <folder>/step_N/, written as step_N.tmp, fsynced, marked, renamed. The marker
// `complete` is written last and lists every file but the model card (README.md) with its size and SHA-256, so
// that a half-written or damaged checkpoint is told from a good one. A failed save (a full disk) leaves the
// checkpoints that were there.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/base/status.h"
#include "core/data/seams.h"

namespace volery::orchestration {

struct Checkpoint {
  StepId step;  // steps done when it was written, = the weights' version
  std::string path;
};

// Not thread-safe: the loop's thread only.
class CheckpointStore {
 public:
  CheckpointStore(std::string folder, int64_t keep) : folder_(std::move(folder)), keep_(keep) {}

  // Makes step_N from what `fill` writes into the folder it is given; then keeps the newest `keep`. A
  // checkpoint of the same step is replaced.
  Status Save(StepId step, const std::function<Status(const std::string& folder)>& fill);
  // The newest whose files are what its marker says; damaged ones are logged and skipped. Nothing: there is
  // none.
  StatusOr<std::optional<Checkpoint>> Newest() const;
  // Removes unfinished folders and puts checkpoints behind `step` aside (step_N.damaged).
  Status RemoveAfter(StepId step);
  std::string PathOf(StepId step) const;

  // All finished ones, ascending; not verified.
  StatusOr<std::vector<Checkpoint>> List() const;

 private:
  Status Prune();

  std::string folder_;
  int64_t keep_;
};

// The parts of a checkpoint's folder beside the model's files.
std::string TrainerStateFolder(const std::string& checkpoint);
std::string LoopStateFile(const std::string& checkpoint);
// Saves a whole training: the model's folder, the trainer's state, and the loop's as `loop_json`.
StatusOr<Checkpoint> SaveTraining(CheckpointStore& store, StepId step, data::StatefulTrainer& trainer,
                                  data::ModelWriter& models, const std::string& loop_json);

// Checks a folder against its marker. Errors: no marker, a file that is missing or differs.
Status VerifyCheckpoint(const std::string& path);

// The loop's own state in a checkpoint (loop.json): everything that isn't weights or optimiser state. Groups
// in flight need no entry: a group's id says what it is, and after a resume those of the steps to come are
// sampled anew with the checkpoint's version, so the staleness bound holds and nothing is trained twice.
struct LoopState {
  StepId step;  // steps done
  int64_t warmup_steps = 0;
  bool warmup_done = false;
  double warmup_loss = 0, warmup_success = 0;  // of the last warm-up step and check
  int64_t skipped_in_a_row = 0, solved_in_a_row = 0;  // solved: skipped because every rollout was
  int64_t skipped = 0;               // in all
  int64_t rollouts = 0;              // trained on, in all
  std::optional<double> first_eval;  // mean reward of the evaluation before step 0
  // What the order of tasks rests on; a resume with others is refused.
  uint64_t seed = 0;
  int64_t groups_per_step = 0, tasks = 0;

  std::string ToJson() const;
  static StatusOr<LoopState> FromJson(const std::string& text, const std::string& path);
};

}  // namespace volery::orchestration
