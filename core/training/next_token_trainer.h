#pragma once
// NextTokenTrainer: data::TextTrainer on this machine's LibTorch, alone or as one rank of several. The loss
// is the mean cross-entropy over all tokens of a step that are predicted. Lanes go to ranks in turn. A
// recurrent model carries its state from chunk to chunk, without a gradient across (truncated
// backpropagation).
//
//   VOLERY_ASSIGN_OR_RETURN(auto trainer, NextTokenTrainer::Create({model, initial, options, &comm,
//   vocabulary}));
//
// The trainer's thread only.

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/data/text_trainer.h"
#include "core/distributed/comm.h"
#include "core/training/batch_pass.h"
#include "core/training/trainer.h"

namespace volery::training {

struct NextTokenSetup {
  std::shared_ptr<native::Model> model;  // this trainer's own; it binds it
  native::NamedTensors initial;          // version 0
  TrainerOptions options;                // `supervised` and `share_prompts` aren't used
  distributed::Comm* comm = nullptr;     // outlives the trainer
  int64_t vocabulary = 0;                // ids of the tokenizer; ids from there on have probability 0
  std::set<std::string> frozen;          // tensors that don't train (trainable.h)
  double l2wrap = 0;                     // see Head::Backward; over the tokens of a step
  std::map<std::string, double> lr_scale = {};  // in place of the model's own (trainable.h)
};

class NextTokenTrainer : public data::TextTrainer {
 public:
  // Errors: options out of range, weights that don't fit the model, nothing left to train, no memory.
  static StatusOr<std::unique_ptr<NextTokenTrainer>> Create(NextTokenSetup setup);

  // Metrics: loss, loss_at/*, grad_norm, lr, tokens.
  StatusOr<data::StepResult> Step(const data::TextBatch& batch) override;
  StatusOr<data::LossByPosition> Evaluate(const data::TextBatch& batch) override;
  VersionId version() const override { return VersionId(counters_.version); }
  StatusOr<data::WeightVersionPtr> Snapshot() override;  // float32
  Status SaveState(const std::string& folder) override;
  Status LoadState(const std::string& folder) override;
  StatusOr<bool> AnyRank(bool mine) override;

  const ParameterStore& store() const { return *store_; }

 private:
  NextTokenTrainer(NextTokenSetup setup, std::unique_ptr<ParameterStore> store);
  Status CheckBatch(const data::TextBatch& batch) const;
  std::vector<int32_t> Mine(const data::TextChunk& chunk) const;
  void Accumulate(const data::TextBatch& batch, const NormaliserCounts& counts, LossSums& sums,
                  data::LossByPosition& losses) const;
  Status Reduce(LossSums& sums, data::LossByPosition& losses);
  Status SyncFromRankZero();
  TrainerTensors Tensors() const;

  const std::shared_ptr<native::Model> model_;
  const TrainerOptions options_;
  distributed::Comm& comm_;
  const int64_t vocabulary_;
  const double l2wrap_;
  std::unique_ptr<ParameterStore> store_;
  AdamW adam_;
  BatchPass pass_;
  TrainerCounters counters_;
};

}  // namespace volery::training
