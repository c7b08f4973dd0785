#pragma once
// LocalTrainer: data::Trainer on this machine's LibTorch, alone or as one rank of several. It owns weights,
// optimiser and counters; every step turns version v into v + 1, also a skipped one. Rank 0 gets the batches;
// the other ranks call Follow and receive their share. All ranks make it with the same options, at the same
// time (rank 0's weights win).
//
//   VOLERY_ASSIGN_OR_RETURN(auto trainer, LocalTrainer::Create({model, initial, options, algorithm, comm,
//   vocabulary})); if (comm->rank() > 0) return trainer->Follow(stop);
//
// Threads: the trainer's calls everything; Advantages and HasSignal from any.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>
#include <vector>

#include "core/data/seams.h"
#include "core/distributed/comm.h"
#include "core/training/adamw.h"
#include "core/training/algorithm.h"
#include "core/training/batch_pass.h"
#include "core/training/schedule.h"
#include "core/training/step_metrics.h"
#include "core/training/trainer_state.h"

namespace volery::training {

struct OptimiserOptions {
  Schedule schedule;
  AdamOptions adam;
  double max_grad_norm = 1;  // of all gradients together; 0: no clipping
};

struct TrainerOptions {
  OptimiserOptions optim;       // of RL steps
  OptimiserOptions supervised;  // of SupervisedStep
  int64_t micro_batch_tokens = 512;
  bool share_prompts = true;  // a group's prompt is computed once a micro-batch
  bool checkpoint_activations = false;
  int64_t head_rows = 0;                           // rows of logits at once; 0: about 30 MiB of them
  c10::ScalarType dtype = c10::ScalarType::Float;  // what the model was built with
  c10::Device device = c10::Device(c10::DeviceType::CPU);
};

struct TrainerSetup {
  std::shared_ptr<native::Model> model;  // this trainer's own; it binds it
  native::NamedTensors initial;          // version 0, and the reference of the KL term
  TrainerOptions options;
  AlgorithmOptions algorithm;
  distributed::Comm* comm = nullptr;  // outlives the trainer
  int64_t vocabulary = 0;             // ids of the tokenizer; ids from there on have probability 0
};

class LocalTrainer : public data::Trainer {
 public:
  // Errors: options out of range (all of the algorithm's at once), weights that don't fit the model, no
  // memory.
  static StatusOr<std::unique_ptr<LocalTrainer>> Create(TrainerSetup setup);
  ~LocalTrainer() override;  // rank 0 tells the others to stop

  Status Advantages(data::Group& group) const override;
  bool HasSignal(const data::Group& group) const override;
  // A loss or gradient that isn't finite skips that optimiser step; where no optimiser step was left, the
  // outcome is kSkippedNotFinite. Metrics: loss, grad_norm, lr, entropy, ess, clip_frac_low|high|delta, kl,
  // optimiser_skipped and those of step_metrics.h. With several optimiser steps they are means over those
  // (lr: the last one).
  StatusOr<data::StepResult> Step(const data::TrainBatch& batch) override;
  // Not finite: the weights stay, the returned loss says so. RL begins with fresh Adam moments after these.
  StatusOr<double> SupervisedStep(const std::vector<data::Rollout>& examples) override;
  VersionId version() const override { return VersionId(counters_.version); }
  StatusOr<data::WeightVersionPtr> Snapshot() override;  // float32
  Status SaveState(const std::string& folder) override;
  Status LoadState(const std::string& folder) override;

  // Ranks above 0: work until rank 0 says stop (OK), the stop token (its reason) or an error.
  Status Follow(const base::StopToken& stop);
  // Rank 0: ends Follow on the others. The destructor does the same and ignores errors.
  Status StopFollowers();

  const AlgorithmOptions& algorithm() const { return algorithm_; }
  const TrainerCounters& counters() const { return counters_; }
  native::NamedTensors CopyWeights() const;  // in the masters' dtype

 private:
  struct StepTotals;
  struct OptimiserOutcome {
    LossSums sums;  // over all ranks
    double grad_norm = 0;
    bool applied = false;
  };

  // The optimiser steps of one batch, as this rank sees them.
  struct StepPlan {
    std::vector<std::vector<int32_t>> shares;  // of each optimiser step: this rank's sequences
    std::vector<NormaliserCounts> counts;      // of each optimiser step, over all ranks
    std::vector<int32_t> mine;                 // all shares together
    bool recompute = false;                    // the ratio's denominators, at the start of the step
  };

  LocalTrainer(TrainerSetup setup, std::unique_ptr<ParameterStore> store);
  Status CheckTokens(std::span<const data::TrainSequence> sequences) const;
  Status SendToFollowers(const char* command, std::span<const data::TrainSequence> sequences);
  StatusOr<std::vector<data::TrainSequence>> ReceiveSequences();
  Status Obey(const std::string& command);  // of rank 0
  StatusOr<data::StepResult> RunStep(const std::vector<data::TrainSequence>& sequences);
  StepPlan PlanStep(const std::vector<data::TrainSequence>& sequences) const;
  Status RunOptimiserSteps(const std::vector<data::TrainSequence>& sequences, data::StepResult& result);
  StatusOr<double> RunSupervised(const std::vector<data::TrainSequence>& examples);
  StatusOr<TokenValues> Denominators(std::span<const data::TrainSequence> sequences,
                                     std::span<const int32_t> mine, bool recompute,
                                     const TokenObserver& observe);
  StatusOr<TokenValues> References(std::span<const data::TrainSequence> sequences,
                                   std::span<const int32_t> mine);
  StatusOr<OptimiserOutcome> OptimiserStep(const LossBatch& batch, std::span<const int32_t> mine,
                                           const OptimiserOptions& optim, int64_t clock,
                                           const TokenObserver& observe);
  Status ReduceSums(LossSums& sums);
  Status ReduceDifference(SamplerDifference& difference);
  void UseFreshMoments();
  Status SyncFromRankZero();
  TrainerTensors Tensors() const;

  const std::shared_ptr<native::Model> model_;
  const TrainerOptions options_;
  const AlgorithmOptions algorithm_;
  distributed::Comm& comm_;
  const int64_t vocabulary_;
  std::unique_ptr<ParameterStore> store_;
  AdamW adam_;
  BatchPass pass_;
  at::Tensor reference_;  // flat; undefined unless the algorithm has a KL term
  TrainerCounters counters_;
  bool followers_stopped_ = false;
};

}  // namespace volery::training
