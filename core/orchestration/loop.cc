#include "core/orchestration/loop.h"

#include <algorithm>

#include "core/base/log.h"
#include "core/base/memory.h"
#include "core/orchestration/loop_run.h"
#include "core/orchestration/step_metrics.h"
#include "core/orchestration/thread.h"

namespace volery::orchestration {
namespace {

constexpr int64_t kTickMs = 200;

int64_t CountRollouts(const std::vector<data::Group>& groups) {
  int64_t rollouts = 0;
  for (const data::Group& group : groups) rollouts += static_cast<int64_t>(group.rollouts.size());
  return rollouts;
}

std::string SkipNote(const data::StepResult& result, const StepGroups& groups, bool all_solved) {
  if (result.outcome == data::StepOutcome::kTrained) return "";
  const bool no_signal = result.outcome == data::StepOutcome::kSkippedNoSignal;
  std::string note = Cat("skipped, ", no_signal ? "no signal" : "not finite");
  if (all_solved) {
    note += ": every answer was solved";
  } else if (!result.reason.empty()) {
    note += ": " + result.reason;
  }
  if (!groups.failure.empty()) note += "; a reward failed: " + groups.failure;
  return note;
}

}  // namespace

const char* PhaseName(LoopView::Phase phase) {
  switch (phase) {
    case LoopView::Phase::kWarmup:
      return "warming up";
    case LoopView::Phase::kEvaluating:
      return "evaluating";
    case LoopView::Phase::kWaitingForBatch:
      return "waiting for rollouts";
    case LoopView::Phase::kTraining:
      return "training";
    case LoopView::Phase::kSaving:
      return "saving";
    case LoopView::Phase::kDone:
      return "done";
  }
  return "";
}

StatusOr<LoopResult> RunLoop(const LoopOptions& options, const LoopParts& parts, base::StopToken stop,
                             base::StopToken finish) {
  base::StopToken inner;
  const auto chain = stop.OnStop([inner, stop] { inner.RequestStop(stop.reason()); });
  std::optional<LoopResult> result;
  const Status status = CatchAll("the loop", [&]() -> Status {
    LoopRun run(options, parts, inner, finish);
    VOLERY_ASSIGN_OR_RETURN(result, run.Run());
    return OkStatus();
  });
  // A reward thread may see the outer stop, wrapped by whom it called, before the chain has passed it on.
  if (!status.ok() && stop.stopped()) return stop.reason();
  if (!status.ok() && inner.stopped()) return inner.reason();
  if (!status.ok()) return status;
  return *std::move(result);
}

LoopRun::LoopRun(const LoopOptions& options, const LoopParts& parts, base::StopToken stop,
                 base::StopToken finish)
    : options_(options),
      parts_(parts),
      stop_(stop),
      finish_(std::move(finish)),
      ledger_(options.rollout, {parts.tasks, parts.trainer, parts.filters}, options.seed, stop) {
  if (parts_.held_out != nullptr) {
    evaluator_ = std::make_unique<Evaluator>(options_.eval, parts_.held_out, *parts_.source, stop_);
  }
  view_.steps = options_.steps;
}

StatusOr<LoopResult> LoopRun::Run() {
  VOLERY_RETURN_IF_ERROR(CheckParts());
  VOLERY_RETURN_IF_ERROR(Restore());
  if (parts_.callbacks.on_start) VOLERY_RETURN_IF_ERROR(parts_.callbacks.on_start());
  // Declared last, so joined first: its threads use everything else here.
  ScorerPool pool(
      *parts_.source, *parts_.scorer, options_.reward_threads,
      [this](data::Group group) { return OnScored(std::move(group)); }, stop_);
  WatchThreads(pool);
  VOLERY_RETURN_IF_ERROR(PublishWeights());
  VOLERY_RETURN_IF_ERROR(Warmup());
  VOLERY_RETURN_IF_ERROR(RunSteps());
  if (stop_.stopped()) return stop_.reason();
  VOLERY_RETURN_IF_ERROR(Save());
  result_.finished = result_.solved || state_.step.value >= options_.steps;
  if (result_.finished) {
    result_.last_eval.reset();
    VOLERY_RETURN_IF_ERROR(Evaluate());
    // The last evaluation was cut short: a resumed run makes up for it.
    if (evaluator_ != nullptr && !result_.last_eval) result_.finished = false;
  }
  VOLERY_RETURN_IF_ERROR(parts_.metrics->Flush());
  result_.step = state_.step;
  result_.skipped = state_.skipped;
  result_.rollouts = state_.rollouts;
  result_.first_eval = state_.first_eval;
  Show(LoopView::Phase::kDone);
  return result_;
}

void LoopRun::WatchThreads(const ScorerPool& pool) {
  if (parts_.watchdog == nullptr) return;
  trainer_entry_ = parts_.watchdog->Register("trainer", [this] { return std::string(PhaseName(phase_)); });
  reward_entry_ = parts_.watchdog->Register("reward threads", [&pool] { return pool.Activity(); });
}

Status LoopRun::RunSteps() {
  admitted_ = state_.step;
  first_step_ = state_.step.value;
  started_ = last_end_ = parts_.clock->NowSeconds();
  while (state_.step.value < options_.steps && !result_.solved && !finish_.stopped()) {
    if (stop_.stopped()) return stop_.reason();
    if (EvalIsDue()) VOLERY_RETURN_IF_ERROR(Evaluate());
    if (finish_.stopped()) return OkStatus();
    VOLERY_RETURN_IF_ERROR(DoStep());
    const bool due = options_.checkpoint_every > 0 && state_.step.value % options_.checkpoint_every == 0;
    if (due && state_.step.value < options_.steps && !result_.solved) VOLERY_RETURN_IF_ERROR(Save());
  }
  return OkStatus();
}

// The bound holds here: a group is sampled with the version of its admission or a newer one.
Status LoopRun::Admit() {
  const int64_t newest = std::min(state_.step.value + options_.rollout.max_staleness, options_.steps - 1);
  for (; admitted_.value <= newest; ++admitted_.value) {
    if (finish_.stopped() && admitted_ > state_.step) return OkStatus();
    VOLERY_ASSIGN_OR_RETURN(std::vector<data::GroupSpec> groups, ledger_.Open(admitted_));
    VOLERY_RETURN_IF_ERROR(parts_.source->Admit(std::move(groups)));
  }
  return OkStatus();
}

Status LoopRun::OnScored(data::Group group) {
  if (reward_entry_) reward_entry_->Moved();
  if (group.id.round() > kMaxRefillRounds) {
    return evaluator_ != nullptr ? evaluator_->OnScored(std::move(group)) : OkStatus();
  }
  VOLERY_ASSIGN_OR_RETURN(std::vector<data::GroupSpec> refills, ledger_.OnScored(std::move(group)));
  return refills.empty() ? OkStatus() : parts_.source->Admit(std::move(refills));
}

StatusOr<StepGroups> LoopRun::WaitForBatch(Timing& timing) {
  Show(LoopView::Phase::kWaitingForBatch);
  const double begin = parts_.clock->NowSeconds();
  StatusOr<StepGroups> groups = ledger_.Wait(state_.step, kTickMs);
  while (groups.status().code() == StatusCode::kDeadlineExceeded && !stop_.stopped()) {
    Tick();
    groups = ledger_.Wait(state_.step, kTickMs);
  }
  timing.waited = parts_.clock->NowSeconds() - begin;
  return groups;
}

Status LoopRun::DoStep() {
  const StepId step = state_.step;
  Timing timing{.begin = last_end_};
  VOLERY_RETURN_IF_ERROR(Admit());
  VOLERY_ASSIGN_OR_RETURN(StepGroups groups, WaitForBatch(timing));
  Show(LoopView::Phase::kTraining);
  const double begin = parts_.clock->NowSeconds();
  data::TrainBatch batch{step, std::move(groups.train)};
  RestSource();
  StatusOr<data::StepResult> result = parts_.trainer->Step(batch);
  if (!result.ok()) return Annotate(result.status(), "step ", step);
  groups.train = std::move(batch.groups);
  timing.trained = parts_.clock->NowSeconds() - begin;
  state_.step.value += 1;
  if (parts_.trainer->version() != VersionId(state_.step.value)) {
    return InternalError("the trainer holds version ", parts_.trainer->version(), " after step ", step);
  }
  VOLERY_RETURN_IF_ERROR(PublishWeights());
  return Finish(std::move(groups), *result, timing);
}

Status LoopRun::Finish(StepGroups groups, const data::StepResult& result, const Timing& timing) {
  const double now = parts_.clock->NowSeconds();
  const double elapsed = now - timing.begin;
  base::MetricRow row = StepMetrics(groups);
  row.insert(result.metrics.begin(), result.metrics.end());
  row.merge(parts_.source->TakeMetrics());
  row.merge(parts_.scorer->TakeMetrics());
  row["time/step"] = elapsed;
  row["time/wait_for_batch"] = timing.waited;
  row["time/train"] = timing.trained;
  row["trainer/idle"] = elapsed > 0 ? timing.waited / elapsed : 0.0;
  row["memory/peak"] = static_cast<double>(base::PeakMemoryBytes());
  last_end_ = now;
  const std::string note = SkipNote(result, groups, AllSolved(groups));
  if (note.empty()) state_.rollouts += CountRollouts(groups.train);
  if (!groups.failure.empty()) base::LogWarning("step ", groups.step, ": a reward failed: ", groups.failure);
  if (parts_.rollouts != nullptr) VOLERY_RETURN_IF_ERROR(parts_.rollouts->Write(groups));
  VOLERY_RETURN_IF_ERROR(parts_.metrics->Write(groups.step, row, note));
  if (parts_.callbacks.on_step) parts_.callbacks.on_step({groups.step, &groups, &row, note});
  view_.last = std::move(row);
  return CountSkip(groups, result);
}

bool LoopRun::AllSolved(const StepGroups& groups) const {
  if (!groups.train.empty() || groups.rest.empty() || !groups.failure.empty()) return false;
  for (const data::Group& group : groups.rest) {
    if (group.rollouts.empty()) return false;
    for (const data::Rollout& rollout : group.rollouts) {
      if (!options_.eval.Solves(rollout.score.total)) return false;
    }
  }
  return true;
}

Status LoopRun::CountSkip(const StepGroups& groups, const data::StepResult& result) {
  if (result.outcome == data::StepOutcome::kTrained) {
    state_.skipped_in_a_row = state_.solved_in_a_row = 0;
    return OkStatus();
  }
  ++state_.skipped;
  state_.solved_in_a_row = AllSolved(groups) ? state_.solved_in_a_row + 1 : 0;
  if (++state_.skipped_in_a_row < options_.max_skipped) return OkStatus();
  if (state_.solved_in_a_row >= options_.max_skipped) {
    result_.solved = true;
    state_.skipped_in_a_row = state_.solved_in_a_row = 0;
    return OkStatus();
  }
  const bool no_signal = result.outcome == data::StepOutcome::kSkippedNoSignal;
  return Abandon(Status(
      StatusCode::kAborted,
      Cat(state_.skipped_in_a_row, " steps in a row changed nothing, the last one was step ",
          state_.step.value - 1, no_signal ? " (no signal" : " (not finite",
          result.reason.empty() ? "" : ": ", result.reason, "); ",
          no_signal
              ? "every group's rewards were equal or failed: make the tasks easier or harder for this model, "
                "raise rollout.group_size or the temperature, or check the reward with `volery reward`"
              : "lower the learning rate or look at the rollouts with `volery inspect`")));
}

// Keeps what was learned before the steps that changed nothing; a resumed run gets as many tries again.
Status LoopRun::Abandon(Status reason) {
  state_.skipped_in_a_row = state_.solved_in_a_row = 0;
  VOLERY_RETURN_IF_ERROR(Save());
  VOLERY_RETURN_IF_ERROR(parts_.metrics->Flush());
  if (!result_.checkpoint) return reason;
  return Annotate(reason, "the state is saved in ", result_.checkpoint->path);
}

// At staleness 0 nothing is sampled while a version is made.
void LoopRun::RestSource() {
  if (options_.rollout.max_staleness == 0) parts_.weights->Rest();
}

Status LoopRun::PublishWeights() {
  RestSource();
  VOLERY_ASSIGN_OR_RETURN(data::WeightVersionPtr version, parts_.trainer->Snapshot());
  return parts_.weights->Publish(std::move(version));
}

void LoopRun::Show(LoopView::Phase phase) {
  view_.phase = phase_ = phase;
  if (trainer_entry_) trainer_entry_->Moved();
  Tick();
}

void LoopRun::Tick() {
  if (!parts_.callbacks.on_view) return;
  view_.step = state_.step.value;
  view_.warmup_steps = state_.warmup_steps;
  view_.seconds_left = SecondsLeft();
  const StepLedger::Progress step = ledger_.ProgressOf(state_.step);
  view_.scored = step.scored;
  view_.asked = step.asked;
  view_.round = step.round;
  if (view_.phase == LoopView::Phase::kEvaluating && evaluator_ != nullptr) {
    const Evaluator::Progress progress = evaluator_->progress();
    view_.scored = progress.scored;
    view_.asked = progress.asked;
  }
  parts_.callbacks.on_view(view_);
}

std::optional<double> LoopRun::SecondsLeft() const {
  const int64_t done = state_.step.value - first_step_;
  if (done <= 0 || started_ == 0) return std::nullopt;
  const double each = (parts_.clock->NowSeconds() - started_) / static_cast<double>(done);
  return each * static_cast<double>(options_.steps - state_.step.value);
}

}  // namespace volery::orchestration
