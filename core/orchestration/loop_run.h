#pragma once
// One run of the loop; inner class of loop.cc. Its thread calls everything but OnScored.

#include <atomic>

#include "core/orchestration/loop.h"
#include "core/orchestration/scorer_pool.h"

namespace volery::orchestration {

class LoopRun {
 public:
  LoopRun(const LoopOptions& options, const LoopParts& parts, base::StopToken stop, base::StopToken finish);
  StatusOr<LoopResult> Run();

 private:
  struct Timing {
    double begin = 0, waited = 0, trained = 0;
  };

  // loop.cc
  void WatchThreads(const ScorerPool& pool);
  Status RunSteps();
  Status Admit();
  StatusOr<StepGroups> WaitForBatch(Timing& timing);
  Status DoStep();
  Status Finish(StepGroups groups, const data::StepResult& result, const Timing& timing);
  Status CountSkip(const StepGroups& groups, const data::StepResult& result);
  bool AllSolved(const StepGroups& groups) const;
  Status Abandon(Status reason);
  Status PublishWeights();
  void RestSource();
  Status OnScored(data::Group group);
  void Show(LoopView::Phase phase);
  void Tick();
  std::optional<double> SecondsLeft() const;

  // loop_stages.cc
  Status CheckParts() const;
  Status Restore();
  Status Save();
  Status Warmup();
  Status WriteWarmup();
  StatusOr<double> WarmupStep(int64_t number);
  StatusOr<bool> WarmupReached(int64_t number, double loss);
  Status Evaluate();
  bool EvalIsDue() const;

  const LoopOptions& options_;
  const LoopParts& parts_;
  base::StopToken stop_;  // this run's own: also stopped by a failing thread
  base::StopToken finish_;
  LoopState state_;
  LoopResult result_;
  LoopView view_;
  StepId admitted_;  // steps below this one are admitted
  std::optional<StepId> saved_;
  std::shared_ptr<base::Watchdog::Entry> trainer_entry_, reward_entry_;
  std::atomic<LoopView::Phase> phase_ = LoopView::Phase::kWaitingForBatch;  // for the watchdog
  double started_ = 0, last_end_ = 0;
  int64_t first_step_ = 0;
  StepLedger ledger_;
  std::unique_ptr<Evaluator> evaluator_;
};

}  // namespace volery::orchestration
