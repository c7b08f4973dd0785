#pragma once
// One call of a reward plugin: the samples in the form of the C table, and the results as the plugin hands
// them over. It lives until the plugin's function has returned, even where the host has given up on it
// before.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/plugin/reward_types.h"
#include "volery/abi/reward.h"

namespace volery::plugin {

class RewardCall {
 public:
  RewardCall(std::vector<RewardSample> samples, bool whole_group);
  ~RewardCall();
  RewardCall(const RewardCall&) = delete;
  RewardCall& operator=(const RewardCall&) = delete;

  // Starts the clock: remaining_ms counts down to limit_ms from now.
  void Start(int64_t limit_ms);
  void Cancel() { cancelled_ = true; }
  bool stopped() const { return cancelled_; }  // Cancel was called
  bool cancelled() const;                      // the same, or the time is up
  int64_t remaining_ms() const;
  const volery_reward_call* table() const { return &table_; }
  const std::vector<RewardSample>& samples() const { return samples_; }
  bool whole_group() const { return table_.flags & VOLERY_REWARD_CALL_GROUP; }

  // Sets a result as a plugin would (for results that come from a child process).
  void SetResult(size_t index, RewardResult result);
  // Takes the results, in sample order; a sample without one gets `status` and `message`. Later results are
  // ignored.
  std::vector<RewardResult> Finish(data::RewardStatus status, const std::string& message);

 private:
  struct Marshalled;
  static int64_t RemainingMs(const volery_reward_call* call);
  static int32_t Cancelled(const volery_reward_call* call);
  static int32_t SetResultC(const volery_reward_call* call, uint64_t index, uint32_t status, double score,
                            volery_text message);
  static int32_t SetComponent(const volery_reward_call* call, uint64_t index, volery_text name, double value);
  void Stamp(size_t index);

  const std::vector<RewardSample> samples_;
  std::unique_ptr<Marshalled> marshalled_;
  volery_reward_call table_{};
  std::atomic<bool> cancelled_ = false;
  std::atomic<int64_t> deadline_us_ = 0;
  std::mutex mutex_;
  std::vector<RewardResult> results_;
  std::vector<bool> set_;
  int64_t last_us_ = 0;
  bool finished_ = false;
};

}  // namespace volery::plugin
