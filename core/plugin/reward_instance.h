#pragma once
// An instance of a reward plugin in this process: made from checked options, called through the C table.

#include <memory>
#include <nlohmann/json.hpp>

#include "core/plugin/host_services.h"
#include "core/plugin/library.h"
#include "core/plugin/reward_call.h"

namespace volery::plugin {

class RewardInstance {
 public:
  // `options`: as ResolveOptions gives them. Errors name the plugin's file: its create failed or broke the
  // contract.
  static StatusOr<std::unique_ptr<RewardInstance>> Create(std::shared_ptr<const PluginLibrary> library,
                                                          const nlohmann::ordered_json& options,
                                                          uint64_t seed);
  ~RewardInstance();

  // Runs the plugin on the call's samples and blocks until it returns. The result is what samples without an
  // outcome failed with. Thread-safe.
  std::string Score(RewardCall& call);
  HostServices& services() { return services_; }

 private:
  RewardInstance(std::shared_ptr<const PluginLibrary> library, uint64_t seed)
      : library_(std::move(library)), services_(library_->info().id, seed) {}
  Status Make(const nlohmann::ordered_json& options);

  std::shared_ptr<const PluginLibrary> library_;
  HostServices services_;
  volery_reward* reward_ = nullptr;
};

}  // namespace volery::plugin
