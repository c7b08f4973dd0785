// plugin_check FILE...: the host's checks on plugin files, for tests; also makes each reward with its default
// options and scores one sample. Exit code 0: all can be used.
#include <cstdio>

#include "core/plugin/plugin_host.h"
#include "core/plugin/reward_pool.h"

namespace volery::plugin {
namespace {

bool TryReward(const std::string& path) {
  StatusOr<std::shared_ptr<RewardPlugin>> reward = PluginHost().LoadReward(path, {}, {});
  if (!reward.ok()) {
    std::printf("%s\n", Message(reward.status()).c_str());
    return false;
  }
  RewardSample sample;
  sample.completion = sample.answer = "one two";
  RewardPool pool({}, base::StopToken());
  RewardPool::Results results = pool.Score({*reward, {sample}});
  if (!results.ok() || results->at(0).status != data::RewardStatus::kOk) {
    std::printf("scoring failed: %s\n",
                results.ok() ? results->at(0).message.c_str() : Message(results.status()).c_str());
    return false;
  }
  std::printf("score of a sample: %g\n", results->at(0).score);
  return true;
}

}  // namespace
}  // namespace volery::plugin

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "reward-host") return volery::plugin::RewardHostMain(argc, argv);
  bool usable = argc > 1;
  for (int i = 1; i < argc; ++i) {
    const volery::plugin::PluginReport report = volery::plugin::PluginHost::Check(argv[i]);
    std::fputs(report.Text().c_str(), stdout);
    usable =
        usable && report.status.ok() && (report.info.kind != "reward" || volery::plugin::TryReward(argv[i]));
  }
  return usable ? 0 : 1;
}
