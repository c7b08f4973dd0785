#include "app/run_setup.h"

#include "app/mapping.h"
#include "app/recipe_checks.h"
#include "core/policy/families.h"

namespace volery::app {

RecipeWords SplitWords(const std::vector<std::string>& words) {
  RecipeWords split;
  for (const std::string& word : words) (word.find('=') == std::string::npos ? split.files : split.overrides).push_back(word);
  return split;
}

StatusOr<CheckedRecipe> LoadChecked(const std::vector<std::string>& words) {
  const RecipeWords split = SplitWords(words);
  if (split.files.empty()) return InvalidError("no recipe given; e.g. volery run configs/quickstart.toml");
  VOLERY_ASSIGN_OR_RETURN(config::LoadedRecipe loaded, config::LoadRecipe(split.files, split.overrides));
  auto host = std::make_shared<const plugin::PluginHost>(loaded.recipe().plugins.path);
  VOLERY_RETURN_IF_ERROR(CheckRewards(loaded, *host));
  return CheckedRecipe{std::move(loaded), std::move(host)};
}

StatusOr<policy::ModelSource> OpenRecipeModel(const CheckedRecipe& checked, bool weights) {
  const config::ModelRecipe& m = checked.recipe().model;
  policy::OpenOptions options;
  options.dtype = checked.recipe().trainer.dtype == "float64" ? c10::ScalarType::Double : c10::ScalarType::Float;
  options.weights = weights;
  options.tokenizer = m.tokenizer;
  options.characters = m.characters;
  options.chat_template = m.chat_template;
  const policy::FamilyFinder families = policy::FamiliesOf(*checked.host);
  if (!m.path.empty()) {
    VOLERY_ASSIGN_OR_RETURN(policy::ModelSource source, policy::OpenModel(m.path, families, options));
    if (!m.config.empty()) VOLERY_RETURN_IF_ERROR(policy::LayOverConfig(m.config, families, source));
    if (m.context > source.info.context) {
      return InvalidError("model.context = ", m.context, " is more than the ", source.info.context, " tokens of ", m.path);
    }
    if (m.context > 0) source.info.context = m.context;
    return source;
  }
  native::ScratchConfig scratch;
  scratch.family = m.family;
  scratch.layers = m.layers;
  scratch.width = m.width;
  scratch.heads = m.heads;
  scratch.kv_heads = m.kv_heads;
  scratch.ffn_width = m.ffn_width;
  scratch.vocabulary = m.vocabulary;
  scratch.context = m.context;
  scratch.tied = m.tied;
  VOLERY_ASSIGN_OR_RETURN(policy::ModelSource source, policy::ModelFromScratch(scratch, static_cast<uint64_t>(checked.recipe().seed), families, options));
  if (!m.config.empty()) VOLERY_RETURN_IF_ERROR(policy::LayOverConfig(m.config, families, source));
  return source;
}

StatusOr<std::unique_ptr<training::LocalTrainer>> MakeTrainer(const config::Recipe& recipe, const policy::ModelSource& source,
                                                              native::NamedTensors weights, distributed::Comm& comm) {
  training::TrainerSetup setup;
  VOLERY_ASSIGN_OR_RETURN(setup.options, MakeTrainerOptions(recipe));
  VOLERY_ASSIGN_OR_RETURN(setup.algorithm, MakeAlgorithm(recipe));
  VOLERY_ASSIGN_OR_RETURN(setup.model, source.Build(setup.options.dtype, setup.options.device));
  setup.initial = std::move(weights);
  setup.comm = &comm;
  setup.vocabulary = source.vocabulary();
  return training::LocalTrainer::Create(std::move(setup));
}

int64_t PlannedSlotTokens(const config::Recipe& recipe, const policy::ModelSource& source) {
  return std::min(source.info.context, recipe.rollout.max_new_tokens + std::max<int64_t>(recipe.tasks.max_prompt_tokens, 128));
}

StatusOr<std::shared_ptr<native::Model>> BuildSampler(const config::Recipe& recipe, const policy::ModelSource& source,
                                                      const inference::EngineOptions& options) {
  VOLERY_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(recipe.device));
  const auto slot_bytes = [&](const native::Model& m) {
    const native::StateSpec spec = m.state_spec(options.dtype);
    return spec.bytes_per_slot + PlannedSlotTokens(recipe, source) * spec.bytes_per_token;
  };
  // Slots come first: what is remembered gets no more than the longest of them leaves.
  const auto with = [&](const std::string& cache) -> StatusOr<std::shared_ptr<native::Model>> {
    if (cache == "full" || options.state_bytes == 0) return source.Build(options.dtype, device, {{"cache", cache}});
    VOLERY_ASSIGN_OR_RETURN(const auto bare, source.Build(options.dtype, device, {{"cache", cache}, {"memo_bytes", "0"}}));
    const double share = recipe.rollout.memo_share * static_cast<double>(options.state_bytes);
    const int64_t left = std::max<int64_t>(0, options.state_bytes - slot_bytes(*bare));
    return source.Build(options.dtype, device, {{"cache", cache}, {"memo_bytes", Cat(std::min(static_cast<int64_t>(share), left))}});
  };
  if (recipe.rollout.cache != "auto") return with(recipe.rollout.cache);
  VOLERY_ASSIGN_OR_RETURN(auto model, source.Build(options.dtype, device));
  const auto bytes = [&](const native::Model& m) {
    return m.state_spec(options.dtype).shared_bytes + options.max_slots * slot_bytes(m);
  };
  if (options.state_bytes == 0 || bytes(*model) <= options.state_bytes) return model;
  const auto compressed = with("compressed");
  return compressed.ok() && bytes(**compressed) < bytes(*model) ? *compressed : model;
}

StatusOr<std::unique_ptr<inference::SlotEngine>> MakeEngine(const config::Recipe& recipe, const policy::ModelSource& source,
                                                             const inference::EngineOptions& options) {
  VOLERY_ASSIGN_OR_RETURN(auto model, BuildSampler(recipe, source, options));
  return inference::SlotEngine::Create(std::move(model), options);
}

}  // namespace volery::app
