#include <memory>

#include "app/command.h"
#include "app/mapping.h"
#include "app/pretrain_printer.h"
#include "app/pretrain_setup.h"
#include "app/run_common.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/signals.h"
#include "core/distributed/gloo_comm.h"
#include "core/distributed/ranks.h"
#include "core/policy/model_folder.h"
#include "core/tensor/threads.h"

namespace volery::app {
namespace {

struct Options {
  std::vector<std::string> words;
  bool resume = false;
};

// Everything a run needs before its folder is opened.
struct Prepared {
  CheckedRecipe checked;
  policy::ModelSource source;
  native::NamedTensors weights;
  TensorChoices tensors;
  PretrainText text;
};

StatusOr<Prepared> Prepare(CheckedRecipe checked) {
  const config::Recipe& recipe = checked.recipe();
  tensor::SetComputeThreads(TrainerThreads(recipe));
  VOLERY_ASSIGN_OR_RETURN(policy::ModelSource source, OpenRecipeModel(checked, true));
  VOLERY_ASSIGN_OR_RETURN(TensorChoices tensors, CheckPretrain(recipe, source));
  native::NamedTensors weights = std::move(source.weights);
  source.weights.clear();
  VOLERY_ASSIGN_OR_RETURN(PretrainText text, MakePretrainText(recipe, source));
  return Prepared{std::move(checked), std::move(source), std::move(weights), std::move(tensors), std::move(text)};
}

class PretrainRun {
 public:
  PretrainRun(Prepared prepared, const Options& options, StopRequests stops, distributed::Comm& comm)
      : prepared_(std::move(prepared)), options_(options), stops_(std::move(stops)), comm_(comm), printer_(recipe().steps) {}

  int Run() {
    StatusOr<orchestration::RunFolder> folder =
        orchestration::RunFolder::Open({recipe().runs, recipe().name, options_.resume, CommandText("pretrain", options_.words), recipe().checkpoint.keep});
    if (!folder.ok()) return Report(folder.status());
    *stops_.under_way = true;
    if (const Status status = base::AddLogFile(folder->logs() + "/run.log"); !status.ok()) return Report(status);
    for (const std::string& note : prepared_.source.notes) printer_.Line(note);
    printer_.Line(Cat("run folder: ", folder->path()));
    const StatusOr<bool> done = Loop(*folder);
    printer_.Finish();
    base::CloseLogFile();
    return Finished(done.status(), *folder, done.ok() && !*done, started_);
  }

  // Ranks above 0 compute their share of every step; they write nothing.
  int Follow() {
    const auto run = [&]() -> Status {
      VOLERY_ASSIGN_OR_RETURN(auto trainer, MakeTrainer());
      orchestration::PretrainParts parts;
      FillParts(*trainer, parts);
      return orchestration::RunPretrain(MakePretrainOptions(recipe()), parts, stops_.stop, stops_.finish).status();
    };
    return Report(run(), true);
  }

 private:
  const config::Recipe& recipe() const { return prepared_.checked.recipe(); }

  StatusOr<std::unique_ptr<training::NextTokenTrainer>> MakeTrainer() {
    return MakeNextTokenTrainer(recipe(), prepared_.source, std::move(prepared_.weights), prepared_.tensors, comm_);
  }

  void FillParts(data::TextTrainer& trainer, orchestration::PretrainParts& parts) const {
    parts.text = &prepared_.text.train;
    parts.validation = prepared_.text.validation(recipe());
    parts.trainer = &trainer;
  }

  // True: the run came to its end; false: it was asked to finish early.
  StatusOr<bool> Loop(const orchestration::RunFolder& folder) {
    orchestration::PretrainParts parts;
    if (options_.resume) {
      VOLERY_ASSIGN_OR_RETURN(parts.resume_from, folder.PrepareResume());
      printer_.Line(parts.resume_from ? Cat("resuming after step ", parts.resume_from->step, " from ", parts.resume_from->path)
                                      : std::string("no checkpoint yet: starting at step 0"));
    }
    VOLERY_ASSIGN_OR_RETURN(auto metrics, OpenMetrics(recipe(), folder, parts.resume_from, options_.resume));
    VOLERY_ASSIGN_OR_RETURN(auto trainer, MakeTrainer());
    VOLERY_ASSIGN_OR_RETURN(policy::ModelExport model_export, policy::MakeExport(prepared_.source));
    VOLERY_ASSIGN_OR_RETURN(model_export.card, CardWriter(prepared_.checked.loaded, prepared_.source, folder, *metrics));
    policy::FolderModelWriter models(std::move(model_export));
    orchestration::CheckpointStore checkpoints(folder.checkpoints(), recipe().checkpoint.keep);
    std::optional<base::Watchdog> watchdog;
    if (recipe().threads.watchdog_seconds > 0) watchdog.emplace(recipe().threads.watchdog_seconds * 1000).Start();

    FillParts(*trainer, parts);
    parts.metrics = metrics.get();
    parts.models = &models;
    parts.checkpoints = &checkpoints;
    parts.watchdog = watchdog ? &*watchdog : nullptr;
    parts.callbacks.on_start = [&]() -> Status {
      started_ = true;
      return base::WriteFileAtomic(folder.recipe(), prepared_.checked.loaded.ResolvedToml());
    };
    parts.callbacks.on_view = [&](const orchestration::PretrainView& view) { printer_.OnView(view); };
    parts.callbacks.on_skip = [&](StepId step, const std::string& note) { printer_.Line(Cat("step ", step, ": no update: ", note)); };
    parts.callbacks.on_validation = [&](const orchestration::ValidationReport& report) { printer_.OnValidation(report); };
    VOLERY_ASSIGN_OR_RETURN(const orchestration::PretrainResult result,
                            orchestration::RunPretrain(MakePretrainOptions(recipe()), parts, stops_.stop, stops_.finish));
    if (result.finished) PrintEnd(result);
    return result.finished;
  }

  void PrintEnd(const orchestration::PretrainResult& result) {
    if (result.first_validation && result.last_validation)
      printer_.Line(Cat("validation loss: ", *result.first_validation, " before, ", *result.last_validation, " after ", result.step, " steps"));
    if (!result.checkpoint) return;
    printer_.Line(Cat("model: ", result.checkpoint->path, "  (a Hugging Face folder; try: ", Program(), " generate --model ", result.checkpoint->path, " --prompt \"...\")"));
  }

  Prepared prepared_;
  const Options& options_;
  StopRequests stops_;
  distributed::Comm& comm_;
  PretrainPrinter printer_;
  bool started_ = false;  // the run's state is made or restored; what fails from here on is no wrong input
};

int Run(const Options& options) {
  StopRequests stops;
  StatusOr<distributed::RankSettings> ranks = distributed::RanksFromEnvironment();
  if (!ranks.ok()) return Report(ranks.status());
  base::SignalWatcher signals([&stops, follower = ranks->rank > 0](int) { AskToFinish(stops, follower); });
  StatusOr<CheckedRecipe> checked = LoadChecked(options.words);
  if (!checked.ok()) return Report(checked.status());
  if (!checked->recipe().pretrain.present)
    return Report(InvalidError(options.words[0], " is no recipe of pretraining: it has no [[data]]; start it with: volery run ", options.words[0]));
  StatusOr<Prepared> prepared = Prepare(*std::move(checked));
  if (!prepared.ok()) return Report(prepared.status());
  if (stops.finish.stopped()) return Report(stops.finish.reason());
  StatusOr<std::unique_ptr<distributed::Comm>> comm = distributed::Connect(*ranks, {});
  if (!comm.ok()) return Report(comm.status());
  PretrainRun run(*std::move(prepared), options, stops, **comm);
  return ranks->rank > 0 ? run.Follow() : run.Run();
}

}  // namespace

Command MakePretrain(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("pretrain", "Train on text, token by token");
  parser->add_option("recipe", options->words, "recipe files, then key=value words that override them")->required();
  parser->add_flag("--resume", options->resume, "go on from the run's newest checkpoint");
  return {parser, [options] { return Run(*options); }};
}

}  // namespace volery::app
