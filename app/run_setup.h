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
// The sampler's model, with the decode cache that the recipe asks for. "auto" takes the family's default, or its
// compressed one where the slots at their longest don't fit the budget otherwise.
StatusOr<std::shared_ptr<native::Model>> BuildSampler(const config::Recipe& recipe, const policy::ModelSource& source,
                                                      const inference::EngineOptions& options);
// Tokens that a slot is planned for: the longest prompt that the recipe allows (128 where it doesn't say) and the answer.
int64_t PlannedSlotTokens(const config::Recipe& recipe, const policy::ModelSource& source);
StatusOr<std::unique_ptr<inference::SlotEngine>> MakeEngine(const config::Recipe& recipe, const policy::ModelSource& source,
                                                             const inference::EngineOptions& options);

}  // namespace volery::app
