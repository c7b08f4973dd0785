#include "app/recipe_checks.h"

namespace volery::app {

Status CheckRewards(const config::LoadedRecipe& loaded, const plugin::PluginHost& host) {
  std::string problems;
  const auto add = [&](const std::string& path, const std::string& message) {
    problems += (problems.empty() ? "" : "\n") + loaded.ProblemAt(path, message);
  };
  const std::vector<config::RewardRecipe>& rewards = loaded.recipe().reward;
  for (size_t i = 0; i < rewards.size(); ++i) {
    const std::string path = Cat("reward.", i);
    const StatusOr<plugin::PluginInfo> info = host.Inspect(rewards[i].plugin);
    if (!info.ok()) {
      add(path + ".plugin", Message(info.status()));
      continue;
    }
    if (info->kind != "reward") add(path + ".plugin", Cat("\"", rewards[i].plugin, "\" is a ", info->kind, " plugin, not a reward"));
    for (const plugin::OptionProblem& problem : plugin::FindOptionProblems(*info, rewards[i].options)) {
      add(path + ".options." + problem.key, problem.message);
    }
  }
  return problems.empty() ? OkStatus() : InvalidError(problems);
}

StatusOr<std::vector<orchestration::WeightedReward>> LoadRewards(const config::Recipe& recipe, const plugin::PluginHost& host) {
  std::vector<orchestration::WeightedReward> rewards;
  for (const config::RewardRecipe& reward : recipe.reward) {
    plugin::RewardSettings settings;
    settings.seed = static_cast<uint64_t>(recipe.seed);
    settings.isolate = reward.isolate;
    VOLERY_ASSIGN_OR_RETURN(auto loaded, host.LoadReward(reward.plugin, reward.options, settings));
    std::string name = loaded->info().name();
    rewards.push_back({std::move(loaded), std::move(name), reward.weight, reward.timeout_ms});
  }
  return rewards;
}

}  // namespace volery::app
