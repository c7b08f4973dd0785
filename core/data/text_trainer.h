#pragma once
// The interface of next-token training, as the loop (orchestration/) sees it. All ranks make the same calls
// with the same batches, each computes its share of the lanes, and all come to the same weights.

#include <string>

#include "core/data/loss_by_position.h"
#include "core/data/seams.h"
#include "core/data/text_batch.h"

namespace volery::data {

// One thread (the trainer's) calls everything.
// LoadState is called by all ranks at once; those above 0 take rank 0's state and need no folder.
class TextTrainer : public StatefulTrainer {
 public:
  // One optimiser step: version v becomes v + 1, also when it is skipped (not finite: the weights and Adam's
  // state stay).
  virtual StatusOr<StepResult> Step(const TextBatch& batch) = 0;
  // Losses with the weights as they are.
  virtual StatusOr<LossByPosition> Evaluate(const TextBatch& batch) = 0;
  // True on every rank if it is on any: so that all stop after the same step.
  virtual StatusOr<bool> AnyRank(bool mine) = 0;
};

}  // namespace volery::data
