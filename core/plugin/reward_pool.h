#pragma once
// Threads that run rewards. Samples of a request run in parallel (a reward that wants groups gets its request
// whole); results come back in sample order, whatever the timing. A failing reward is a status of its sample,
// never a score of 0 and never an error of the pool.
//
// Time: a sample that isn't done by its limit gets status timeout. An isolated reward's child is killed then.
// A reward in this process can't be killed: its thread is left behind and replaced; after `max_abandoned` of
// those the pool fails, and so it does after `max_crashes_in_a_row` children died one after the other.

#include <future>
#include <memory>
#include <vector>

#include "core/base/queue.h"
#include "core/plugin/reward_plugin.h"

namespace volery::plugin {

struct RewardPoolOptions {
  int threads = 2;
  int64_t grace_ms = 250;  // past the limit, for plugins that look at cancelled()
  int max_abandoned = 4;
  int max_crashes_in_a_row = 16;
  size_t max_queued = 4096;  // samples that wait; Submit blocks beyond
};

struct RewardRequest {
  std::shared_ptr<RewardPlugin> plugin;
  std::vector<RewardSample> samples;  // for a reward that wants groups: one whole group
  int64_t timeout_ms = 10'000;        // a sample
};

class RewardPool {
 public:
  // An error is the run's: the stop reason, or a reward that never returns or keeps crashing.
  using Results = StatusOr<std::vector<RewardResult>>;

  RewardPool(const RewardPoolOptions& options, base::StopToken stop);
  ~RewardPool();  // pending requests end with Cancelled; waits for running rewards for grace_ms, then leaves
                  // them behind
  RewardPool(const RewardPool&) = delete;
  RewardPool& operator=(const RewardPool&) = delete;

  // Thread-safe. The future is ready in every case: results, stop, or failure of the pool.
  std::future<Results> Submit(RewardRequest request);
  // Submit and wait.
  Results Score(RewardRequest request) { return Submit(std::move(request)).get(); }
  int abandoned() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::shared_ptr<void> on_stop_;
};

}  // namespace volery::plugin
