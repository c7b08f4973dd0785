// The stages around the steps: restoring and saving, warm-up, evaluation.

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/orchestration/loop_run.h"

namespace volery::orchestration {
namespace {

// Prompt and reference answer; the loss counts the answer.
data::Rollout ReferenceRollout(const data::Task& task, std::vector<int32_t> answer) {
  data::Rollout rollout;
  data::Span prompt, reference;
  prompt.tokens = task.prompt;
  reference.origin = data::SpanOrigin::kInserted;
  reference.loss_mask.assign(answer.size(), 1);
  reference.tokens = std::move(answer);
  rollout.spans = {std::move(prompt), std::move(reference)};
  return rollout;
}

Status CheckBelongs(const LoopState& saved, const LoopState& now, const std::string& path) {
  const auto differs = [&](const char* what, auto then, auto today) {
    return PreconditionError(path, " was written with ", what, " ", then, ", but the recipe says ", today,
                             "; resume with the run's own recipe or start a run with another name");
  };
  if (saved.seed != now.seed) return differs("seed", saved.seed, now.seed);
  if (saved.groups_per_step != now.groups_per_step) {
    return differs("rollout.groups_per_step", saved.groups_per_step, now.groups_per_step);
  }
  if (saved.tasks != now.tasks) return differs("this many training tasks:", saved.tasks, now.tasks);
  return OkStatus();
}

}  // namespace

Status LoopRun::CheckParts() const {
  VOLERY_CHECK(parts_.source && parts_.weights && parts_.trainer && parts_.scorer && parts_.metrics &&
               parts_.clock);
  VOLERY_CHECK(parts_.checkpoints == nullptr || parts_.models != nullptr);
  if (options_.warmup.until > 0 && (evaluator_ == nullptr || !parts_.encode_answer)) {
    return InvalidError("[warmup] measures the success rate on held-out tasks; set eval.tasks or eval.file");
  }
  if (options_.steps < 0 || options_.rollout.max_staleness < 0 || options_.max_skipped < 1) {
    return InvalidError("steps and max_staleness must not be negative, max_skipped must be at least 1");
  }
  return OkStatus();
}

Status LoopRun::Restore() {
  state_.seed = options_.seed;
  state_.groups_per_step = options_.rollout.groups_per_step;
  state_.tasks = parts_.tasks->size();
  if (!parts_.resume_from) return OkStatus();
  const std::string file = LoopStateFile(parts_.resume_from->path);
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file));
  VOLERY_ASSIGN_OR_RETURN(const LoopState saved, LoopState::FromJson(text, file));
  VOLERY_RETURN_IF_ERROR(CheckBelongs(saved, state_, file));
  VOLERY_RETURN_IF_ERROR(parts_.trainer->LoadState(TrainerStateFolder(parts_.resume_from->path)));
  if (parts_.trainer->version() != VersionId(saved.step.value)) {
    return DataLossError(parts_.resume_from->path, ": the trainer's state is of version ",
                         parts_.trainer->version(), ", loop.json of step ", saved.step);
  }
  state_ = saved;
  saved_ = saved.step;
  result_.checkpoint = parts_.resume_from;
  // A resume cuts off what belongs to the steps to come, and the warm-up's line stands under step 0.
  return state_.step.value == 0 && state_.warmup_done ? WriteWarmup() : OkStatus();
}

Status LoopRun::Save() {
  if (parts_.checkpoints == nullptr || saved_ == state_.step) return OkStatus();
  Show(LoopView::Phase::kSaving);
  VOLERY_RETURN_IF_ERROR(parts_.metrics->Flush());
  VOLERY_ASSIGN_OR_RETURN(result_.checkpoint, SaveTraining(*parts_.checkpoints, state_.step, *parts_.trainer,
                                                           *parts_.models, state_.ToJson()));
  saved_ = state_.step;
  return OkStatus();
}

bool LoopRun::EvalIsDue() const {
  const int64_t step = state_.step.value;
  return step == 0 || (options_.eval.every > 0 && step % options_.eval.every == 0);
}

Status LoopRun::Evaluate() {
  if (evaluator_ == nullptr) return OkStatus();
  Show(LoopView::Phase::kEvaluating);
  const VersionId version(state_.step.value);
  VOLERY_ASSIGN_OR_RETURN(std::optional<EvalResult> result,
                          evaluator_->Run(version, kEvalRound, version.value, finish_, [this] { Tick(); }));
  if (!result) return OkStatus();
  VOLERY_RETURN_IF_ERROR(parts_.metrics->Write(state_.step, result->Metrics(options_.eval), ""));
  if (state_.step.value == 0) state_.first_eval = result->average;
  view_.last_eval = result->average;
  if (parts_.callbacks.on_eval) parts_.callbacks.on_eval(*result);
  result_.last_eval = std::move(result);
  return OkStatus();
}

Status LoopRun::Warmup() {
  if (options_.warmup.until <= 0 || state_.warmup_done) return OkStatus();
  Show(LoopView::Phase::kWarmup);
  double loss = 0;
  const int64_t check_every = std::max<int64_t>(options_.warmup.check_every, 1);
  while (!finish_.stopped()) {
    if (stop_.stopped()) return stop_.reason();
    if (state_.warmup_steps % check_every == 0 || state_.warmup_steps >= options_.warmup.max_steps) {
      VOLERY_ASSIGN_OR_RETURN(const bool reached, WarmupReached(state_.warmup_steps, loss));
      if (finish_.stopped()) return OkStatus();
      if (reached) break;
    }
    if (state_.warmup_steps >= options_.warmup.max_steps) {
      base::LogWarning("warm-up ended after warmup.max_steps = ", options_.warmup.max_steps,
                       " steps at a success rate of ", view_.warmup_success.value_or(0),
                       ", below warmup.until = ", options_.warmup.until);
      break;
    }
    VOLERY_ASSIGN_OR_RETURN(loss, WarmupStep(state_.warmup_steps));
    ++state_.warmup_steps;
    saved_.reset();
    Show(LoopView::Phase::kWarmup);
  }
  if (finish_.stopped()) return OkStatus();
  state_.warmup_done = true;
  state_.warmup_loss = loss;
  state_.warmup_success = view_.warmup_success.value_or(0);
  saved_.reset();
  VOLERY_RETURN_IF_ERROR(WriteWarmup());
  return options_.checkpoint_every > 0 ? Save() : OkStatus();
}

Status LoopRun::WriteWarmup() {
  return parts_.metrics->Write(StepId(0),
                               {{"warmup/steps", static_cast<double>(state_.warmup_steps)},
                                {"warmup/loss", state_.warmup_loss},
                                {"warmup/success", state_.warmup_success}},
                               "");
}

StatusOr<double> LoopRun::WarmupStep(int64_t number) {
  base::RandomStream random(options_.seed, base::RandomUse::kShuffle, static_cast<uint64_t>(number));
  std::vector<data::Rollout> examples;
  for (int64_t i = 0; i < options_.warmup.examples; ++i) {
    const uint64_t index = random.NextBelow(static_cast<uint64_t>(parts_.tasks->size()));
    VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const data::Task> task,
                            parts_.tasks->Get(static_cast<int64_t>(index)));
    VOLERY_ASSIGN_OR_RETURN(std::vector<int32_t> answer, parts_.encode_answer(*task));
    examples.push_back(ReferenceRollout(*task, std::move(answer)));
  }
  StatusOr<double> loss = parts_.trainer->SupervisedStep(examples);
  if (!loss.ok()) return Annotate(loss.status(), "warm-up step ", number);
  return loss;
}

// Measures the weights as they are now. The version stays 0: RL hasn't begun.
StatusOr<bool> LoopRun::WarmupReached(int64_t number, double loss) {
  VOLERY_RETURN_IF_ERROR(PublishWeights());
  VOLERY_ASSIGN_OR_RETURN(const std::optional<EvalResult> result,
                          evaluator_->Run(VersionId(0), kWarmupRound, number, finish_, [this] { Tick(); }));
  if (!result) return false;
  view_.warmup_success = result->solved;
  base::LogInfo("warm-up: ", number, " steps, loss ", loss, ", success rate ", result->solved);
  Tick();
  return result->solved >= options_.warmup.until;
}

}  // namespace volery::orchestration
