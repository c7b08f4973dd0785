#pragma once
// The recipe's rewards as one Scorer: every reward plugin judges every rollout of a group in the reward pool;
// the total is the weighted sum. A plugin that says "not applicable" leaves a rollout to the others; a
// failure of any fails the rollout's score, with the plugin's name in the message.

#include <memory>
#include <string>
#include <vector>

#include "core/data/seams.h"
#include "core/plugin/reward_pool.h"

namespace volery::orchestration {

struct WeightedReward {
  std::shared_ptr<plugin::RewardPlugin> plugin;
  std::string name;  // of its component: the recipe's name for the plugin
  double weight = 1;
  int64_t timeout_ms = 10'000;  // a rollout
};

// Thread-safe. A call in progress ends soon after its `stop`; its rewards are left to the pool.
class PluginScorer : public data::Scorer {
 public:
  PluginScorer(std::vector<WeightedReward> rewards, plugin::RewardPool& pool)
      : rewards_(std::move(rewards)), pool_(pool) {}
  Status ScoreGroup(data::Group& group, const base::StopToken& stop) override;
  base::MetricRow TakeMetrics() override;  // reward/<name>/<metric>

 private:
  const std::vector<WeightedReward> rewards_;
  plugin::RewardPool& pool_;
};

// Adds one reward's verdict to a score that begins as CombineStart().
data::Score CombineStart();
void Combine(const std::string& name, double weight, const plugin::RewardResult& result, data::Score& score);

}  // namespace volery::orchestration
