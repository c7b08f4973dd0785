#pragma once
// From checked recipe to the parts of a run, in the order in which problems should show: plugins, model, tasks; then the
// run folder; then engine and trainer. Nothing is written before the run folder is opened.

#include <memory>
#include <string>
#include <vector>

#include "core/config/load_recipe.h"
#include "core/data/held_out.h"
#include "core/distributed/comm.h"
#include "core/inference/engine.h"
#include "core/orchestration/plugin_scorer.h"
#include "core/plugin/plugin_host.h"
#include "core/plugin/reward_pool.h"
#include "core/policy/model_source.h"
#include "core/training/trainer.h"

namespace volery::app {

// Splits words into files (no '=') and overrides.
struct RecipeWords {
  std::vector<std::string> files, overrides;
};
RecipeWords SplitWords(const std::vector<std::string>& words);

// A loaded recipe whose plugins and their options are checked too.
struct CheckedRecipe {
  config::LoadedRecipe loaded;
  std::shared_ptr<const plugin::PluginHost> host;
  const config::Recipe& recipe() const { return loaded.recipe(); }
};
StatusOr<CheckedRecipe> LoadChecked(const std::vector<std::string>& words);

// The model that a recipe names, or one from scratch, with weights of the trainer's masters (float32, or float64).
StatusOr<policy::ModelSource> OpenRecipeModel(const CheckedRecipe& checked, bool weights);

StatusOr<std::unique_ptr<training::LocalTrainer>> MakeTrainer(const config::Recipe& recipe, const policy::ModelSource& source,
                                                              native::NamedTensors weights, distributed::Comm& comm);
StatusOr<std::unique_ptr<inference::SlotEngine>> MakeEngine(const config::Recipe& recipe, const policy::ModelSource& source,
                                                             const inference::EngineOptions& options);

}  // namespace volery::app
