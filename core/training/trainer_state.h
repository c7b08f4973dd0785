#pragma once
// The trainer's state in files: masters, Adam's moments and the reference weights in trainer.safetensors,
// counters in trainer.json. Reading checks everything before anything is overwritten. The trainer's thread
// only.

#include <ATen/core/Tensor.h>

#include <string>

#include "core/base/status.h"
#include "core/training/parameters.h"

namespace volery::training {

struct TrainerCounters {
  int64_t version = 0;
  int64_t optimiser_steps = 0;   // attempted since RL began, skipped ones included: the schedule's clock
  int64_t supervised_steps = 0;  // attempted: the supervised schedule's clock
  int64_t adam_steps = 0;
  bool moments_are_supervised =
      false;  // Adam's moments stem from supervised steps; RL starts with fresh ones
};

// Flat tensors of one length; `reference` may be undefined.
struct TrainerTensors {
  at::Tensor masters, first_moment, second_moment, reference;
};

std::string CountersToJson(const TrainerCounters& counters);
StatusOr<TrainerCounters> CountersFromJson(const std::string& text, const std::string& where);

// Both files are written atomically; the folder is made.
Status WriteTrainerState(const std::string& folder, const std::vector<ParameterRange>& ranges,
                         const TrainerTensors& tensors, const TrainerCounters& counters);
// Copies into `tensors` (in place). Errors: a file missing or damaged, names, shapes or dtype that differ
// from this trainer's, a reference that is needed and absent.
Status ReadTrainerState(const std::string& folder, const std::vector<ParameterRange>& ranges,
                        TrainerTensors& tensors, TrainerCounters& counters);

}  // namespace volery::training
