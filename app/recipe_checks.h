#pragma once
// Checks of a recipe that need more than its text: the plugins that it names and their options. Opens plugins, touches no
// model, data or run folder.

#include <memory>
#include <vector>

#include "core/base/queue.h"
#include "core/config/load_recipe.h"
#include "core/orchestration/plugin_scorer.h"
#include "core/plugin/plugin_host.h"

namespace volery::app {

// Every unknown plugin, unknown option and wrong type at once, in the form of the recipe's own errors.
Status CheckRewards(const config::LoadedRecipe& loaded, const plugin::PluginHost& host);
// The rewards of a checked recipe.
StatusOr<std::vector<orchestration::WeightedReward>> LoadRewards(const config::Recipe& recipe, const plugin::PluginHost& host);

}  // namespace volery::app
