#include <memory>
#include <nlohmann/json.hpp>

#include "app/command.h"
#include "app/mapping.h"
#include "app/recipe_checks.h"
#include "app/run_common.h"
#include "app/run_printer.h"
#include "app/run_setup.h"
#include "app/task_setup.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/signals.h"
#include "core/base/threads.h"
#include "core/distributed/gloo_comm.h"
#include "core/distributed/ranks.h"
#include "core/orchestration/engine_source.h"
#include "core/orchestration/run_folder.h"
#include "core/policy/model_folder.h"
#include "core/tensor/threads.h"

namespace volery::app {
namespace {

constexpr int kMostConstantWords = 12;

struct Options {
  std::vector<std::string> words;
  bool resume = false;
};

// Everything a run needs before its folder is opened.
struct Prepared {
  CheckedRecipe checked;
  policy::ModelSource source;
  native::NamedTensors weights;
  data::TaskSplit tasks;
  std::vector<orchestration::WeightedReward> rewards;
  orchestration::LoopOptions loop;
};

StatusOr<Prepared> Prepare(CheckedRecipe checked) {
  const config::Recipe& recipe = checked.recipe();
  VOLERY_RETURN_IF_ERROR(MakeTrainerOptions(recipe).status());
  VOLERY_RETURN_IF_ERROR(MakeAlgorithm(recipe).status());
  VOLERY_ASSIGN_OR_RETURN(policy::ModelSource source, OpenRecipeModel(checked, true));
  native::NamedTensors weights = std::move(source.weights);
  source.weights.clear();
  VOLERY_ASSIGN_OR_RETURN(data::TaskSplit tasks, MakeTasks(recipe, source));
  if (recipe.warmup.present) VOLERY_RETURN_IF_ERROR(CheckAnswers(source, *tasks.train));
  VOLERY_ASSIGN_OR_RETURN(auto rewards, LoadRewards(recipe, *checked.host));
  VOLERY_ASSIGN_OR_RETURN(const inference::EngineOptions engine, MakeEngineOptions(recipe, source.vocabulary()));
  VOLERY_RETURN_IF_ERROR(BuildSampler(recipe, source, engine).status());
  VOLERY_ASSIGN_OR_RETURN(auto stop_rules, source.Stops());
  orchestration::LoopOptions loop = MakeLoopOptions(recipe, {source.stop_ids, std::move(stop_rules)});
  return Prepared{std::move(checked), std::move(source), std::move(weights), std::move(tasks), std::move(rewards), std::move(loop)};
}

orchestration::EngineSourceOptions SourceOptions(const Prepared& prepared, const native::StateSpec& state, int64_t slots, base::Watchdog* watchdog) {
  const config::Recipe& recipe = prepared.checked.recipe();
  orchestration::EngineSourceOptions options;
  // A state that other weights can't read is always read again.
  const bool reread = recipe.rollout.on_update == "reread" || !state.readable_with_other_weights;
  options.on_update = reread ? data::OnUpdate::kReread : data::OnUpdate::kKeep;
  const data::SamplingParams& sampling = prepared.loop.rollout.sampling;
  options.decode = [tokenizer = prepared.source.tokenizer.tokenizer, ids = sampling.stop_ids, rules = sampling.stop_rules](
                       const std::vector<int32_t>& tokens, data::StopReason stop) -> StatusOr<std::string> {
    return text::CompletionText(*tokenizer, tokens, stop == data::StopReason::kStop, ids, rules.get());
  };
  options.on_thread_start = [threads = SamplerThreads(recipe)] { tensor::SetComputeThreads(threads); };
  options.watchdog = watchdog;
  options.max_sequences = slots;
  return options;
}

// The one answer to everything that scores highest, of all that were sampled and one made of each number of words.
StatusOr<std::string> ConstantAnswerLine(const Prepared& prepared, const orchestration::RunFolder& folder, data::Scorer& scorer, const base::StopToken& stop) {
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> candidates, orchestration::SampledCompletions(folder.rollouts()));
  std::string words = "word";
  for (int n = 1; n <= kMostConstantWords; ++n, words += " word") candidates.push_back(words);
  VOLERY_ASSIGN_OR_RETURN(const auto best, orchestration::BestConstantAnswer(candidates, *prepared.tasks.held_out, scorer, stop));
  const std::string quoted = nlohmann::json(best.text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return Cat("best constant answer of ", candidates.size(), " tried: ", quoted, " scores ", best.score);
}

void PrintEnd(const Prepared& prepared, const orchestration::RunFolder& folder, const orchestration::LoopResult& result, data::Scorer& scorer,
                const base::StopToken& stop, RunPrinter& printer) {
  if (result.solved) {
    printer.Line(Cat("finished early: in the last ", prepared.loop.max_skipped, " steps every answer was solved, so nothing was left to learn (harder tasks would go on)"));
  }
  if (result.last_eval && result.first_eval) {
    printer.Line(Cat("held-out reward: ", *result.first_eval, " before, ", result.last_eval->average, " after ", result.step, " steps. Some answers now:"));
    printer.Line(ExampleLines(*result.last_eval));
  }
  if (prepared.checked.recipe().eval.constant_answer && prepared.tasks.held_out && prepared.checked.recipe().output.rollouts) {
    const StatusOr<std::string> line = ConstantAnswerLine(prepared, folder, scorer, stop);
    printer.Line(line.ok() ? *line : Cat("best constant answer: not found out (", Message(line.status()), ")"));
  }
  if (result.checkpoint) printer.Line(Cat("model: ", result.checkpoint->path, "  (a Hugging Face folder; try: ", Program(), " generate --model ", result.checkpoint->path, prepared.source.chat ? " --chat" : "", " --prompt \"...\")"));
}

class Rank0Run {
 public:
  Rank0Run(Prepared prepared, const Options& options, StopRequests stops, distributed::Comm& comm)
      : prepared_(std::move(prepared)), options_(options), stops_(std::move(stops)), comm_(comm), printer_(prepared_.loop.steps) {}

  int Run() {
    const config::Recipe& recipe = prepared_.checked.recipe();
    StatusOr<orchestration::RunFolder> folder = orchestration::RunFolder::Open({recipe.runs, recipe.name, options_.resume, CommandText("run", options_.words), recipe.checkpoint.keep});
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

 private:
  // True: the run came to its end; false: it was asked to finish early.
  StatusOr<bool> Loop(const orchestration::RunFolder& folder) {
    const config::Recipe& recipe = prepared_.checked.recipe();
    std::optional<orchestration::Checkpoint> resume_from;
    if (options_.resume) {
      VOLERY_ASSIGN_OR_RETURN(resume_from, folder.PrepareResume());
      printer_.Line(resume_from ? Cat("resuming after step ", resume_from->step, " from ", resume_from->path) : std::string("no checkpoint yet: starting at step 0"));
    }
    VOLERY_ASSIGN_OR_RETURN(auto metrics, OpenMetrics(recipe, folder, resume_from, options_.resume));
    tensor::SetComputeThreads(TrainerThreads(recipe));
    VOLERY_ASSIGN_OR_RETURN(auto trainer, MakeTrainer(recipe, prepared_.source, std::move(prepared_.weights), comm_));
    VOLERY_ASSIGN_OR_RETURN(const inference::EngineOptions engine_options, MakeEngineOptions(recipe, prepared_.source.vocabulary()));
    VOLERY_ASSIGN_OR_RETURN(auto engine, MakeEngine(recipe, prepared_.source, engine_options));
    plugin::RewardPoolOptions pool_options;
    pool_options.threads = prepared_.loop.reward_threads;
    plugin::RewardPool pool(pool_options, stops_.stop);
    orchestration::PluginScorer scorer(prepared_.rewards, pool);
    VOLERY_ASSIGN_OR_RETURN(policy::ModelExport model_export, policy::MakeExport(prepared_.source));
    VOLERY_ASSIGN_OR_RETURN(model_export.card, CardWriter(prepared_.checked.loaded, prepared_.source, folder, *metrics));
    policy::FolderModelWriter models(std::move(model_export));
    orchestration::CheckpointStore checkpoints(folder.checkpoints(), recipe.checkpoint.keep);
    orchestration::RolloutFileWriter rollouts(folder.rollouts(), prepared_.loop.seed);
    std::optional<base::Watchdog> watchdog;
    if (recipe.threads.watchdog_seconds > 0) watchdog.emplace(recipe.threads.watchdog_seconds * 1000).Start();
    base::Watchdog* const watched = watchdog ? &*watchdog : nullptr;
    orchestration::EngineSource source(*engine, SourceOptions(prepared_, engine->state_spec(), engine_options.max_slots, watched), stops_.stop);

    orchestration::LoopParts parts;
    parts.tasks = prepared_.tasks.train;
    parts.held_out = prepared_.tasks.held_out;
    parts.source = &source;
    parts.weights = &source;
    parts.trainer = trainer.get();
    parts.scorer = &scorer;
    parts.metrics = metrics.get();
    parts.models = &models;
    parts.checkpoints = &checkpoints;
    if (recipe.output.rollouts) parts.rollouts = &rollouts;
    parts.encode_answer = [this](const data::Task& task) { return EncodeAnswer(prepared_.source, task); };
    parts.resume_from = resume_from;
    parts.watchdog = watched;
    parts.callbacks.on_start = [&]() -> Status {
      started_ = true;
      return base::WriteFileAtomic(folder.recipe(), prepared_.checked.loaded.ResolvedToml());
    };
    parts.callbacks.on_view = [&](const orchestration::LoopView& view) { printer_.OnView(view); };
    parts.callbacks.on_step = [&](const orchestration::StepReport& report) { printer_.OnStep(report); };
    parts.callbacks.on_eval = [&](const orchestration::EvalResult& result) { printer_.OnEval(result); };
    StatusOr<orchestration::LoopResult> result = orchestration::RunLoop(prepared_.loop, parts, stops_.stop, stops_.finish);
    if (!result.ok()) {
      (void)trainer->StopFollowers();
      return result.status();
    }
    VOLERY_RETURN_IF_ERROR(trainer->StopFollowers());
    // The last evaluation is made when its checkpoint is safe; its card says what came out.
    if (result->checkpoint && result->finished && result->last_eval) {
      const Status written = models.WriteCard(result->checkpoint->path, VersionId(result->checkpoint->step.value));
      if (!written.ok()) printer_.Line(Cat("the model card lacks the last evaluation: ", written));
    }
    if (result->finished) PrintEnd(prepared_, folder, *result, scorer, stops_.finish, printer_);
    return result->finished;
  }

  Prepared prepared_;
  const Options& options_;
  StopRequests stops_;
  distributed::Comm& comm_;
  RunPrinter printer_;
  bool started_ = false;  // the run's state is made or restored; what fails from here on is no wrong input
};

// Ranks above 0 compute their share of every batch; they write nothing.
int RunFollower(Prepared prepared, const StopRequests& stops, distributed::Comm& comm) {
  const config::Recipe& recipe = prepared.checked.recipe();
  tensor::SetComputeThreads(TrainerThreads(recipe));
  StatusOr<std::unique_ptr<training::LocalTrainer>> trainer = MakeTrainer(recipe, prepared.source, std::move(prepared.weights), comm);
  if (!trainer.ok()) return Report(trainer.status());
  return Report((*trainer)->Follow(stops.stop), true);
}

int Run(const Options& options) {
  StopRequests stops;
  StatusOr<distributed::RankSettings> ranks = distributed::RanksFromEnvironment();
  if (!ranks.ok()) return Report(ranks.status());
  base::SignalWatcher signals([&stops, follower = ranks->rank > 0](int) { AskToFinish(stops, follower); });
  StatusOr<CheckedRecipe> checked = LoadChecked(options.words);
  if (!checked.ok()) return Report(checked.status());
  if (checked->recipe().pretrain.present) return Report(InvalidError(options.words[0], " is a recipe of pretraining ([pretrain], [[data]]); start it with: volery pretrain ", options.words[0]));
  StatusOr<Prepared> prepared = Prepare(*std::move(checked));
  if (!prepared.ok()) return Report(prepared.status());
  if (stops.finish.stopped()) return Report(stops.finish.reason());
  StatusOr<std::unique_ptr<distributed::Comm>> comm = distributed::Connect(*ranks, {});
  if (!comm.ok()) return Report(comm.status());
  if (ranks->rank > 0) return RunFollower(*std::move(prepared), stops, **comm);
  return Rank0Run(*std::move(prepared), options, stops, **comm).Run();
}

}  // namespace

Command MakeRun(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("run", "Train by asynchronous reinforcement learning");
  parser->add_option("recipe", options->words, "recipe files, then key=value words that override them")->required();
  parser->add_flag("--resume", options->resume, "go on from the run's newest checkpoint");
  return {parser, [options] { return Run(*options); }};
}

}  // namespace volery::app
