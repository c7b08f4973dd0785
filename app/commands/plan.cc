#include <iostream>
#include <memory>
#include <numeric>

#include "app/command.h"
#include "app/mapping.h"
#include "app/pretrain_setup.h"
#include "app/run_setup.h"
#include "app/task_setup.h"
#include "core/base/files.h"
#include "core/base/memory.h"
#include "core/config/reference_page.h"
#include "core/policy/memory.h"
#include "core/training/head.h"

namespace volery::app {
namespace {

struct Options {
  std::vector<std::string> words;
  bool reference = false;
};

std::string ItemLines(const policy::MemoryQuestion& question) {
  std::string text;
  for (const policy::MemoryItem& item : policy::EstimateMemory(question)) {
    text += Cat(item.label, std::string(item.label.size() < 44 ? 44 - item.label.size() : 1, ' '), policy::BytesText(item.bytes), "\n");
  }
  return text;
}

// What training needs, whatever makes its batches.
policy::MemoryQuestion TrainingQuestion(const training::TrainerOptions& trainer, const policy::ModelSource& source, int64_t program_bytes) {
  policy::MemoryQuestion question;
  question.parameters = source.info.parameters;
  question.vocabulary_rows = source.info.vocabulary;
  question.layers = source.info.layers;
  question.width = source.info.width;
  question.saved_elements = source.info.saved_elements;
  question.checkpointed = trainer.checkpoint_activations;
  question.program_bytes = program_bytes;
  question.compute_bytes = trainer.dtype == c10::ScalarType::BFloat16 ? 2 : 4;
  question.master_bytes = trainer.dtype == c10::ScalarType::Double ? 8 : 4;
  question.batch_tokens = trainer.micro_batch_tokens;
  question.head_rows = training::HeadSliceRows(trainer.head_rows, source.info.vocabulary);
  return question;
}

// An upper bound on what stands in memory at once, part by part.
StatusOr<std::string> MemoryText(const config::Recipe& recipe, const policy::ModelSource& source, int64_t program_bytes) {
  VOLERY_ASSIGN_OR_RETURN(const training::TrainerOptions trainer, MakeTrainerOptions(recipe));
  VOLERY_ASSIGN_OR_RETURN(const inference::EngineOptions engine, MakeEngineOptions(recipe, source.vocabulary()));
  VOLERY_ASSIGN_OR_RETURN(const auto model, BuildSampler(recipe, source, engine));
  const native::StateSpec state = model->state_spec(engine.dtype);
  policy::MemoryQuestion question = TrainingQuestion(trainer, source, program_bytes);
  question.reference = recipe.algorithm.kl > 0;
  question.sampler_bytes = engine.dtype == c10::ScalarType::BFloat16 ? 2 : 4;
  question.takes_turns = recipe.max_staleness == 0;
  question.slots = engine.max_slots;
  question.slot_tokens = PlannedSlotTokens(recipe, source);
  question.state_bytes_per_slot = state.bytes_per_slot;
  question.state_bytes_per_token = state.bytes_per_token;
  question.state_bytes_shared = state.shared_bytes;
  question.logits_rows = engine.logits_rows;
  const int64_t slot = state.bytes_per_slot + question.slot_tokens * state.bytes_per_token;
  const int64_t slots_bytes = std::max<int64_t>(0, engine.state_bytes - state.shared_bytes);
  std::string text = Cat("decode state of a sequence: ", state.bytes_per_slot, " bytes and ", state.bytes_per_token, " a token (", state.holds, ")");
  if (slot > 0) text += Cat("; ", policy::BytesText(slots_bytes), " hold ", slots_bytes / slot, " of ", question.slot_tokens, " tokens, of which ",
                       std::min(engine.max_slots, slots_bytes / slot), " may be decoded at once");
  if (state.shared_bytes > 0) text += Cat("; up to ", policy::BytesText(state.shared_bytes), " more are remembered for all of them");
  return Cat(text, "\n", ItemLines(question));
}

void PrintModel(const policy::ModelSource& source) {
  std::cout << "\n# model\n" << source.where << ": " << source.info.family << ", " << source.info.layers << " layers, width " << source.info.width << ", "
            << source.info.parameters << " parameters, vocabulary " << source.info.vocabulary << " (" << source.vocabulary() << " with a token), context "
            << source.info.context << "\n";
  for (const std::string& note : source.notes) std::cout << note << "\n";
}

Status PrintFiles(const config::Recipe& recipe) {
  const std::string folder = base::ResolvePath(recipe.runs, recipe.name);
  std::cout << "\n# files\n" << folder << (base::Exists(folder) ? "  (exists already: needs --resume or another name)" : "") << "\n";
  VOLERY_ASSIGN_OR_RETURN(const uint64_t free_bytes, base::FreeDiskBytes(recipe.runs));
  std::cout << free_bytes / 1000000 << " MB free there\n";
  return OkStatus();
}

Status PlanPretrain(const CheckedRecipe& checked, const policy::ModelSource& source, int64_t program_bytes) {
  const config::Recipe& recipe = checked.recipe();
  VOLERY_ASSIGN_OR_RETURN(const TensorChoices tensors, CheckPretrain(recipe, source));
  VOLERY_ASSIGN_OR_RETURN(const PretrainText text, MakePretrainText(recipe, source));
  VOLERY_ASSIGN_OR_RETURN(const training::TrainerOptions trainer, MakeTrainerOptions(recipe));
  std::cout << "# recipe\n" << checked.loaded.Listing();
  PrintModel(source);
  if (!tensors.frozen.empty()) std::cout << source.specs.size() - tensors.frozen.size() << " of " << source.specs.size() << " tensors train\n";
  std::cout << "\n# text\n" << DescribeText(recipe, text);
  VOLERY_RETURN_IF_ERROR(PrintFiles(recipe));
  policy::MemoryQuestion question = TrainingQuestion(trainer, source, program_bytes);
  for (const native::TensorSpec& spec : source.specs) {
    if (tensors.frozen.contains(spec.name)) question.frozen += std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
  }
  std::cout << "\n# memory\n" << ItemLines(question);
  return OkStatus();
}

Status Plan(const std::vector<std::string>& words) {
  const int64_t program_bytes = base::PeakMemoryBytes();  // LibTorch and the code that is loaded
  VOLERY_ASSIGN_OR_RETURN(const CheckedRecipe checked, LoadChecked(words));
  const config::Recipe& recipe = checked.recipe();
  VOLERY_ASSIGN_OR_RETURN(const policy::ModelSource source, OpenRecipeModel(checked, false));
  if (recipe.pretrain.present) return PlanPretrain(checked, source, program_bytes);
  VOLERY_ASSIGN_OR_RETURN(const data::TaskSplit tasks, MakeTasks(recipe, source));
  VOLERY_RETURN_IF_ERROR(MakeAlgorithm(recipe).status());
  std::cout << "# recipe\n" << checked.loaded.Listing();
  PrintModel(source);
  std::cout << "\n# tasks\n" << tasks.train->size() << " to train on, " << (tasks.held_out ? tasks.held_out->size() : 0) << " held out; "
            << recipe.rollout.groups_per_step * recipe.rollout.group_size << " rollouts a step, " << recipe.steps << " steps\n";
  VOLERY_RETURN_IF_ERROR(PrintFiles(recipe));
  VOLERY_ASSIGN_OR_RETURN(const std::string memory, MemoryText(recipe, source, program_bytes));
  std::cout << "\n# memory\n" << memory;
  return OkStatus();
}

}  // namespace

Command MakePlan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("plan", "Show what a recipe would run: every value with its origin, the model, files, memory");
  parser->add_option("recipe", options->words, "recipe files, then key=value words that override them");
  parser->add_flag("--reference", options->reference, "instead: every key of a recipe, as Markdown");
  return {parser, [options] {
            if (options->reference) {
              std::cout << config::ReferencePage();
              return kExitDone;
            }
            return Report(Plan(options->words));
          }};
}

}  // namespace volery::app
