#include "app/run_common.h"

#include <iostream>

#include "app/command.h"
#include "core/base/hash.h"
#include "core/observe/last_metrics.h"
#include "core/observe/metrics_file.h"
#include "core/observe/tensorboard_sink.h"
#include "core/plugin/plugin_host.h"
#include "core/policy/model_card.h"

namespace volery::app {
namespace {

// As a shell reads it back.
std::string ShellWord(const std::string& word) {
  constexpr char kPlain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

std::string Program() { return plugin::ExecutableFolder() + "/volery"; }

std::string CommandText(const std::string& command, const std::vector<std::string>& words) {
  std::string text = Program() + " " + command;
  for (const std::string& word : words) {
    if (!word.starts_with("name=")) text += " " + ShellWord(word);
  }
  return text;
}

StatusOr<std::unique_ptr<observe::FanOutSink>> OpenMetrics(const config::Recipe& recipe, const orchestration::RunFolder& folder,
                                                           const std::optional<orchestration::Checkpoint>& resume_from, bool resume) {
  if (resume) {
    const StepId last(resume_from ? resume_from->step.value - 1 : -1);
    VOLERY_RETURN_IF_ERROR(observe::MetricsFile::CutBack(folder.metrics(), last));
    VOLERY_RETURN_IF_ERROR(observe::TensorBoardSink::CutBack(folder.events(), last));
  }
  auto sinks = std::make_unique<observe::FanOutSink>();
  VOLERY_ASSIGN_OR_RETURN(auto file, observe::MetricsFile::Open(folder.metrics()));
  sinks->Add(std::move(file));
  if (recipe.output.tensorboard) {
    VOLERY_ASSIGN_OR_RETURN(auto events, observe::TensorBoardSink::Open(folder.events(), base::Clock::Real()));
    sinks->Add(std::move(events));
  }
  return sinks;
}

StatusOr<std::function<std::string(VersionId)>> CardWriter(const config::LoadedRecipe& loaded, const policy::ModelSource& source,
                                                           const orchestration::RunFolder& folder, observe::FanOutSink& metrics) {
  const config::Recipe& recipe = loaded.recipe();
  policy::ModelCard card = policy::CardOf(source);
  card.name = recipe.name;
  card.training = recipe.pretrain.present ? "next-token training" : Cat("reinforcement learning (", recipe.algorithm.preset, ")");
  card.recipe_hash = base::Sha256Hex(loaded.ResolvedToml());
  card.program = Cat("volery ", VOLERY_VERSION);
  VOLERY_ASSIGN_OR_RETURN(const auto last, observe::LastMetrics::Of(folder.metrics()));
  metrics.Add(last);
  return [card, last](VersionId version) {
    std::vector<policy::CardMetric> measured;
    for (const auto& [name, metric] : last->values()) {
      const bool shown = name.starts_with("eval/") || name == "validation/loss" || name == "validation/accuracy" || name == "reward/mean" || name == "loss";
      if (shown) measured.push_back({name, metric.value, metric.step.value});
    }
    return policy::FormatModelCard(card, version.value, measured);
  };
}

int Finished(const Status& status, const orchestration::RunFolder& folder, bool interrupted, bool started) {
  if (interrupted) std::cerr << "stopped; go on with: " << folder.resume_command() << "\n";
  if (status.ok()) return interrupted ? kExitInterrupted : kExitDone;
  return Report(Annotate(status, "run failed"), started);
}

void AskToFinish(const StopRequests& stops, bool quiet) {
  if (!quiet)
    std::cerr << (*stops.under_way ? "\nstopping after this step, with a checkpoint" : "\nstopping before the run starts") << "; Ctrl-C again stops at once\n";
  stops.finish.RequestStop(CancelledError("stopped by Ctrl-C"));
}

}  // namespace volery::app
