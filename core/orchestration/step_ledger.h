#pragma once
// What belongs to which step: opens a step's groups, takes them scored in any order, replaces those without
// signal by the next refill round once all of the step's groups are scored, and hands the step over in the
// order of its ids. Which groups form a step depends on scores only, never on when they arrive.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/queue.h"
#include "core/data/seams.h"
#include "core/data/task_order.h"

namespace volery::orchestration {

// Rounds from here on are not for training: evaluation and warm-up checks.
inline constexpr int kEvalRound = 255;
inline constexpr int kWarmupRound = 254;
inline constexpr int kMaxRefillRounds = 250;

struct LedgerOptions {
  int64_t groups_per_step = 8;
  int32_t group_size = 8;
  int max_refill = 3;
  int64_t max_staleness =
      0;  // rollouts with an older version are dropped (remote sources only ever send such)
  data::SamplingParams sampling;
};

struct LedgerParts {
  std::shared_ptr<const data::TaskSource> tasks;
  const data::Trainer* trainer = nullptr;  // its thread-safe functions: advantages, signal
  std::vector<data::GroupFilter*> filters;
};

struct StepGroups {
  StepId step;
  std::vector<data::Group> train;          // in the order of ids: they have signal and passed the filters
  std::vector<data::Group> rest;           // in the order of ids: scored, not trained
  std::map<std::string, int64_t> dropped;  // reason -> rollouts
  std::string failure;                     // message of the first failed reward, by id
  int refill_rounds = 0;                   // that were sampled
};

// Thread-safe.
class StepLedger {
 public:
  StepLedger(LedgerOptions options, LedgerParts parts, uint64_t seed, base::StopToken stop);

  // The groups of round 0 to admit; each step is opened once.
  StatusOr<std::vector<data::GroupSpec>> Open(StepId step);
  // Takes a scored group; returns what to admit in its place, if that ended the round. Groups nobody asked
  // for are counted.
  StatusOr<std::vector<data::GroupSpec>> OnScored(data::Group group);
  // Blocks until the step is complete and takes it. Errors: the stop reason, DeadlineExceeded (negative: no
  // deadline).
  StatusOr<StepGroups> Wait(StepId step, int64_t timeout_ms);

  // Groups that have been scored of those asked for, for the status line.
  struct Progress {
    int64_t scored = 0, asked = 0;
    int round = 0;
  };
  Progress ProgressOf(StepId step) const;
  int64_t unknown_groups() const;

 private:
  struct Pending {
    int round = 0;
    int64_t asked = 0;                      // of this round
    std::map<GroupId, data::Group> scored;  // of this round
    std::map<GroupId, std::map<std::string, int64_t>> dropped;
    std::map<GroupId, std::string> failures;
    StepGroups result;
    bool complete = false;
  };

  StatusOr<std::vector<data::GroupSpec>> Specs(StepId step, int round, int64_t count) const;
  void LeaveOut(data::Group& group, Pending& open) const;
  Status Settle(Pending& open) const;
  StatusOr<bool> Trains(data::Group& group, Pending& open) const;
  void Finish(Pending& open) const;
  void Wake();

  const LedgerOptions options_;
  const LedgerParts parts_;
  const data::TaskOrder order_;
  base::StopToken stop_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<StepId, Pending> open_;
  int64_t unknown_ = 0;
  std::shared_ptr<void> stop_handle_;
};

}  // namespace volery::orchestration
