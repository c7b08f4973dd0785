#include "core/orchestration/pretrain_loop.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/memory.h"
#include "core/orchestration/loop.h"
#include "core/orchestration/thread.h"

namespace volery::orchestration {
namespace {

class PretrainRun {
 public:
  PretrainRun(const PretrainOptions& options, const PretrainParts& parts, const base::StopToken& stop,
              const base::StopToken& finish)
      : options_(options), parts_(parts), stop_(stop), finish_(finish) {
    view_.steps = options.steps;
    if (parts_.watchdog != nullptr)
      watched_ = parts_.watchdog->Register("trainer", [this] { return std::string("training"); });
  }

  StatusOr<PretrainResult> Run() {
    VOLERY_RETURN_IF_ERROR(Restore());
    if (parts_.callbacks.on_start) VOLERY_RETURN_IF_ERROR(parts_.callbacks.on_start());
    VOLERY_RETURN_IF_ERROR(RunSteps());
    const Status validated =
        state_.step.value >= options_.steps && !result_.last_validation ? Validate() : OkStatus();
    if (!diverged_) VOLERY_RETURN_IF_ERROR(Save());
    VOLERY_RETURN_IF_ERROR(validated);
    if (parts_.metrics != nullptr) VOLERY_RETURN_IF_ERROR(parts_.metrics->Flush());
    result_.finished = state_.step.value >= options_.steps && (!interrupted_ || parts_.validation == nullptr);
    result_.step = state_.step;
    result_.first_validation = state_.first_validation;
    Show("");
    return result_;
  }

 private:
  Status Restore() {
    state_.text = parts_.text->Fingerprint();
    VOLERY_ASSIGN_OR_RETURN(const bool resumes, parts_.trainer->AnyRank(parts_.resume_from.has_value()));
    if (!resumes) return OkStatus();
    std::string folder;
    if (parts_.resume_from) {
      const std::string file = LoopStateFile(parts_.resume_from->path);
      VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file));
      VOLERY_ASSIGN_OR_RETURN(PretrainState saved, PretrainState::FromJson(text, file));
      if (saved.text != state_.text) {
        return PreconditionError(
            file, " was written for another text: ", saved.text, "\nThe recipe says: ", state_.text,
            "\nResume with the run's own recipe and files, or start a run with another name");
      }
      state_ = std::move(saved);
      folder = TrainerStateFolder(parts_.resume_from->path);
    }
    VOLERY_RETURN_IF_ERROR(parts_.trainer->LoadState(folder));
    const StepId step(parts_.trainer->version().value);
    if (parts_.resume_from && state_.step != step)
      return DataLossError(parts_.resume_from->path, ": the trainer's state is of version ", step,
                           ", loop.json of step ", state_.step);
    state_.step = step;
    saved_ = step;
    result_.checkpoint = parts_.resume_from;
    return OkStatus();
  }

  // True: go on.
  StatusOr<bool> GoesOn() {
    if (state_.step.value >= options_.steps) return false;
    VOLERY_ASSIGN_OR_RETURN(interrupted_, parts_.trainer->AnyRank(finish_.stopped() || stop_.stopped()));
    if (stop_.stopped()) return stop_.reason();
    return !interrupted_;
  }

  Status RunSteps() {
    first_step_ = state_.step.value;
    started_ = parts_.clock->NowSeconds();
    const auto due = [&](int64_t every) { return every > 0 && state_.step.value % every == 0; };
    for (bool first = true;; first = false) {
      VOLERY_ASSIGN_OR_RETURN(const bool on, GoesOn());
      if (!on) return OkStatus();
      if (first && (state_.step.value == 0 || due(options_.validate_every))) VOLERY_RETURN_IF_ERROR(Validate());
      VOLERY_RETURN_IF_ERROR(DoStep());
      if (state_.step.value >= options_.steps) continue;
      // Before it is saved: a state that has diverged pushes no good one out.
      if (due(options_.validate_every)) VOLERY_RETURN_IF_ERROR(Validate());
      if (due(options_.checkpoint_every)) VOLERY_RETURN_IF_ERROR(Save());
    }
  }

  Status DoStep() {
    const StepId step = state_.step;
    const double begin = parts_.clock->NowSeconds();
    const data::TextBatch batch = parts_.text->Step(step.value);
    const double read = parts_.clock->NowSeconds();
    StatusOr<data::StepResult> result = parts_.trainer->Step(batch);
    if (!result.ok()) return Annotate(result.status(), "step ", step);
    state_.step.value += 1;
    result_.last_validation.reset();
    const double seconds = parts_.clock->NowSeconds() - begin;
    base::MetricRow row = std::move(result->metrics);
    state_.tokens += row["tokens"];
    row["tokens_seen"] = state_.tokens;
    if (seconds > 0) row["tokens_per_s"] = row["tokens"] / seconds;
    row["time/step"] = seconds;
    row["time/read"] = read - begin;
    row["memory/peak"] = static_cast<double>(base::PeakMemoryBytes());
    const std::string note =
        result->outcome == data::StepOutcome::kTrained ? "" : Cat("skipped: ", result->reason);
    if (parts_.metrics != nullptr) VOLERY_RETURN_IF_ERROR(parts_.metrics->Write(step, row, note));
    if (!note.empty() && parts_.callbacks.on_skip) parts_.callbacks.on_skip(step, note);
    if (row.contains("loss")) view_.loss = row["loss"];
    if (row.contains("tokens_per_s")) view_.tokens_per_s = row["tokens_per_s"];
    Show("");
    return CountSkip(*result);
  }

  Status CountSkip(const data::StepResult& result) {
    if (result.outcome == data::StepOutcome::kTrained) {
      state_.skipped_in_a_row = 0;
      return OkStatus();
    }
    ++state_.skipped;
    if (++state_.skipped_in_a_row < options_.max_skipped) return OkStatus();
    const Status reason(
        StatusCode::kAborted,
        Cat(state_.skipped_in_a_row, " steps in a row changed nothing, the last one was step ",
            state_.step.value - 1, " (", result.reason, ")",
            result.outcome == data::StepOutcome::kSkippedNotFinite ? "; lower the learning rate or look at the text"
                                                                   : ""));
    state_.skipped_in_a_row = 0;
    VOLERY_RETURN_IF_ERROR(Save());
    return result_.checkpoint ? Annotate(reason, "the state is saved in ", result_.checkpoint->path) : reason;
  }

  Status Validate() {
    if (parts_.validation == nullptr) return OkStatus();
    data::LossByPosition losses;
    const int64_t batches = parts_.validation->held_out_batches();
    for (int64_t i = 0; i < batches; ++i) {
      Show(Cat("validating ", i, "/", batches));
      VOLERY_ASSIGN_OR_RETURN(interrupted_, parts_.trainer->AnyRank(finish_.stopped() || stop_.stopped()));
      if (stop_.stopped()) return stop_.reason();
      if (interrupted_) return OkStatus();
      VOLERY_ASSIGN_OR_RETURN(const data::LossByPosition part,
                              parts_.trainer->Evaluate(parts_.validation->HeldOut(i)));
      losses.Merge(part);
    }
    if (losses.tokens() == 0) {
      return InvalidError(
          "no token of the text held out for validation is predicted: its documents have one token each, or "
          "its labels ask for no loss; raise validation.sequences or bring another validation.file");
    }
    if (!std::isfinite(losses.Mean())) return Diverged();
    base::MetricRow row = {{"validation/loss", losses.Mean()}, {"validation/accuracy", losses.Accuracy()}};
    losses.Report("validation/", row);
    if (parts_.metrics != nullptr) VOLERY_RETURN_IF_ERROR(parts_.metrics->Write(state_.step, row, ""));
    if (state_.step.value == 0) state_.first_validation = losses.Mean();
    view_.validation_loss = result_.last_validation = losses.Mean();
    if (parts_.callbacks.on_validation)
      parts_.callbacks.on_validation({state_.step, losses.Mean(), losses.tokens()});
    return OkStatus();
  }

  Status Diverged() {
    diverged_ = true;
    const Status reason(StatusCode::kAborted, Cat("the validation loss of version ", state_.step,
                                                  " is not finite; the model has diverged or its file is "
                                                  "damaged"));
    if (!result_.checkpoint) return reason;
    if (result_.checkpoint->step == state_.step)
      return Annotate(reason, result_.checkpoint->path, " is this state; remove it to go on from the one before, with a "
                      "lower learning rate");
    return Annotate(reason, "lower the learning rate; the newest checkpoint is ", result_.checkpoint->path);
  }

  Status Save() {
    if (parts_.checkpoints == nullptr || saved_ == state_.step) return OkStatus();
    Show("saving");
    if (parts_.metrics != nullptr) VOLERY_RETURN_IF_ERROR(parts_.metrics->Flush());
    VOLERY_ASSIGN_OR_RETURN(result_.checkpoint, SaveTraining(*parts_.checkpoints, state_.step, *parts_.trainer,
                                                             *parts_.models, state_.ToJson()));
    saved_ = state_.step;
    return OkStatus();
  }

  void Show(const std::string& activity) {
    if (watched_) watched_->Moved();
    if (!parts_.callbacks.on_view) return;
    view_.step = state_.step.value;
    view_.activity = activity;
    const int64_t done = view_.step - first_step_;
    if (done > 0) {
      const double each = (parts_.clock->NowSeconds() - started_) / static_cast<double>(done);
      view_.seconds_left = each * static_cast<double>(options_.steps - view_.step);
    }
    parts_.callbacks.on_view(view_);
  }

  const PretrainOptions& options_;
  const PretrainParts& parts_;
  const base::StopToken stop_, finish_;
  PretrainState state_;
  PretrainResult result_;
  PretrainView view_;
  std::optional<StepId> saved_;
  bool interrupted_ = false, diverged_ = false;
  int64_t first_step_ = 0;
  double started_ = 0;
  std::shared_ptr<base::Watchdog::Entry> watched_;
};

}  // namespace

StatusOr<PretrainResult> RunPretrain(const PretrainOptions& options, const PretrainParts& parts,
                                     const base::StopToken& stop, const base::StopToken& finish) {
  VOLERY_CHECK(parts.text != nullptr && parts.trainer != nullptr && parts.clock != nullptr);
  VOLERY_CHECK(parts.checkpoints == nullptr || parts.models != nullptr);
  std::optional<PretrainResult> result;
  VOLERY_RETURN_IF_ERROR(CatchAll("the loop", [&]() -> Status {
    VOLERY_ASSIGN_OR_RETURN(result, PretrainRun(options, parts, stop, finish).Run());
    return OkStatus();
  }));
  return *std::move(result);
}

std::string PretrainState::ToJson() const {
  const nlohmann::json state = {
      {"kind", "pretrain"},
      {"step", step.value},
      {"skipped", skipped},
      {"skipped_in_a_row", skipped_in_a_row},
      {"tokens", tokens},
      {"first_validation", first_validation ? nlohmann::json(*first_validation) : nlohmann::json()},
      {"text", text}};
  return state.dump(1) + "\n";
}

StatusOr<PretrainState> PretrainState::FromJson(const std::string& text, const std::string& path) {
  PretrainState state;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    if (json.value("kind", "") != "pretrain")
      return PreconditionError(path, " is no state of `volery pretrain`; the run was another kind");
    state.step = StepId(json.at("step").get<int64_t>());
    state.skipped = json.at("skipped").get<int64_t>();
    state.skipped_in_a_row = json.at("skipped_in_a_row").get<int64_t>();
    state.tokens = json.at("tokens").get<double>();
    if (!json.at("first_validation").is_null())
      state.first_validation = json.at("first_validation").get<double>();
    state.text = json.at("text").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    return DataLossError(path, " is damaged: ", error.what());
  }
  return state;
}

}  // namespace volery::orchestration
