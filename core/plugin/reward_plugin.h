#pragma once
// A reward that a recipe named: checked options, and where it runs (in this process, or in child processes).
// The pool calls it; nothing else needs to.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/metrics.h"
#include "core/plugin/reward_child.h"
#include "core/plugin/reward_instance.h"

namespace volery::plugin {

struct RewardSettings {
  uint64_t seed = 0;     // of the plugin's random streams
  bool isolate = false;  // a child process even where the plugin doesn't say that it may hang
  int64_t start_timeout_ms = 30'000;
};

class RewardPlugin {
 public:
  // Makes the instance (isolated: starts the first child), so that a plugin that refuses its options fails
  // here.
  static StatusOr<std::shared_ptr<RewardPlugin>> Create(std::shared_ptr<const PluginLibrary> library,
                                                        const nlohmann::json& options,
                                                        const RewardSettings& settings);

  const PluginInfo& info() const { return library_->info(); }
  const nlohmann::ordered_json& options() const { return options_; }  // given and defaults
  bool isolated() const { return isolated_; }
  bool wants_group() const { return info().wants_group; }
  // Means of what the plugin reported since the last call. Thread-safe.
  base::MetricRow TakeMetrics() { return services_.TakeMetrics(); }

  struct Outcome {
    data::RewardStatus status = data::RewardStatus::kError;  // of samples without a result
    std::string message;
    bool crashed = false;  // a child died; the next call starts another
    bool cancelled = false;
  };
  // Scores the call's samples (after call.Start); blocks. Isolated: at most until limit_ms + grace_ms.
  // Thread-safe.
  Outcome Score(RewardCall& call, int64_t limit_ms, int64_t grace_ms);

 private:
  RewardPlugin(std::shared_ptr<const PluginLibrary> library, nlohmann::ordered_json options,
               const RewardSettings& settings);
  Outcome ScoreHere(RewardCall& call);
  Outcome ScoreInChild(RewardCall& call, int64_t limit_ms, int64_t grace_ms);
  StatusOr<std::unique_ptr<RewardChild>> TakeChild();
  void GiveBack(std::unique_ptr<RewardChild> child);

  const std::shared_ptr<const PluginLibrary> library_;
  const nlohmann::ordered_json options_;
  const RewardSettings settings_;
  const bool isolated_;
  HostServices services_;                     // collects the children's metrics
  std::unique_ptr<RewardInstance> instance_;  // not isolated
  std::mutex mutex_;
  std::vector<std::unique_ptr<RewardChild>> idle_;
};

}  // namespace volery::plugin
