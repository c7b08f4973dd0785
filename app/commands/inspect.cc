#include <iostream>
#include <memory>

#include "app/command.h"
#include "core/base/files.h"
#include "core/orchestration/inspect.h"
#include "core/policy/tokenizer_source.h"

namespace volery::app {
namespace {

struct Options {
  std::string run;
  int64_t step = 0;
  int64_t group = -1;
};

// The tokenizer of the run's newest checkpoint; null where there is none yet.
std::shared_ptr<const text::Tokenizer> TokenizerOf(const std::string& run) {
  const StatusOr<std::vector<std::string>> names = base::ListFolder(run + "/checkpoints");
  if (!names.ok()) return nullptr;
  for (auto name = names->rbegin(); name != names->rend(); ++name) {
    StatusOr<std::shared_ptr<const text::Tokenizer>> tokenizer = policy::OpenTokenizer(run + "/checkpoints/" + *name);
    if (tokenizer.ok()) return *tokenizer;
  }
  return nullptr;
}

Status Inspect(const Options& options) {
  if (!base::IsFolder(options.run)) return NotFoundError(options.run, ": no such run folder; give the folder that `volery run` names at its start");
  orchestration::InspectOptions inspect;
  if (options.group >= 0) inspect.group = options.group;
  if (const auto tokenizer = TokenizerOf(options.run)) {
    inspect.token_text = [tokenizer](int32_t token) { return tokenizer->Decode(std::span(&token, 1), false); };
  }
  VOLERY_ASSIGN_OR_RETURN(const std::string text, orchestration::InspectStep(options.run + "/rollouts", StepId(options.step), inspect));
  std::cout << text;
  return OkStatus();
}

}  // namespace

Command MakeInspect(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("inspect", "Show the rollouts of one step of a run: prompts, siblings, rewards, log-probs, versions");
  parser->add_option("run", options->run, "the run's folder")->required();
  parser->add_option("--step", options->step, "which step")->required()->check(CLI::NonNegativeNumber);
  parser->add_option("--group", options->group, "one group of the step, from 0; without it an overview")->check(CLI::NonNegativeNumber);
  return {parser, [options] { return Report(Inspect(*options)); }};
}

}  // namespace volery::app
