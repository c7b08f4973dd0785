#include "core/orchestration/step_ledger.h"

#include <algorithm>

namespace volery::orchestration {
namespace {

// Why a rollout can't train, or null.
const char* LeftOutReason(const data::Rollout& rollout, int64_t oldest_allowed) {
  if (rollout.stop == data::StopReason::kCancelled) return "cancelled";
  switch (rollout.score.status) {
    case data::RewardStatus::kOk:
      break;
    case data::RewardStatus::kTimeout:
      return "reward_timeout";
    case data::RewardStatus::kError:
      return "reward_error";
    case data::RewardStatus::kNotApplicable:
      return "reward_not_applicable";
  }
  const VersionId oldest = rollout.OldestVersion();
  return oldest.value >= 0 && oldest.value < oldest_allowed ? "stale" : nullptr;
}

void SortById(std::vector<data::Group>& groups) {
  std::sort(groups.begin(), groups.end(),
            [](const data::Group& a, const data::Group& b) { return a.id < b.id; });
}

}  // namespace

StepLedger::StepLedger(LedgerOptions options, LedgerParts parts, uint64_t seed, base::StopToken stop)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      order_(seed, parts_.tasks->size(), options_.groups_per_step),
      stop_(std::move(stop)) {
  VOLERY_CHECK(options_.max_refill >= 0 && options_.max_refill <= kMaxRefillRounds);
  stop_handle_ = stop_.OnStop([this] { Wake(); });
}

void StepLedger::Wake() {
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

StatusOr<std::vector<data::GroupSpec>> StepLedger::Specs(StepId step, int round, int64_t count) const {
  std::vector<data::GroupSpec> specs;
  for (int64_t index = 0; index < count; ++index) {
    data::GroupSpec spec;
    spec.id = GroupId::Make(step.value, round, static_cast<int>(index));
    VOLERY_ASSIGN_OR_RETURN(spec.task, parts_.tasks->Get(order_.IndexOf(spec.id)));
    spec.samples = options_.group_size;
    spec.params = options_.sampling;
    specs.push_back(std::move(spec));
  }
  return specs;
}

StatusOr<std::vector<data::GroupSpec>> StepLedger::Open(StepId step) {
  VOLERY_ASSIGN_OR_RETURN(std::vector<data::GroupSpec> specs, Specs(step, 0, options_.groups_per_step));
  std::lock_guard lock(mutex_);
  const auto [entry, fresh] = open_.try_emplace(step);
  if (!fresh) return InternalError("step ", step, " was opened twice");
  entry->second.asked = options_.groups_per_step;
  entry->second.result.step = step;
  return specs;
}

StatusOr<std::vector<data::GroupSpec>> StepLedger::OnScored(data::Group group) {
  std::lock_guard lock(mutex_);
  const GroupId id = group.id;
  const auto found = open_.find(StepId(id.step()));
  const bool known = found != open_.end() && !found->second.complete && id.round() == found->second.round &&
                     id.index() < found->second.asked && !found->second.scored.contains(id);
  if (!known) {
    ++unknown_;
    return std::vector<data::GroupSpec>();
  }
  Pending& open = found->second;
  LeaveOut(group, open);
  open.scored.emplace(id, std::move(group));
  if (static_cast<int64_t>(open.scored.size()) < open.asked) return std::vector<data::GroupSpec>();
  VOLERY_RETURN_IF_ERROR(Settle(open));
  const int64_t missing = options_.groups_per_step - static_cast<int64_t>(open.result.train.size());
  if (missing == 0 || open.round == options_.max_refill) {
    Finish(open);
    changed_.notify_all();
    return std::vector<data::GroupSpec>();
  }
  open.asked = missing;
  open.result.refill_rounds = ++open.round;
  return Specs(found->first, open.round, missing);
}

void StepLedger::LeaveOut(data::Group& group, Pending& open) const {
  const int64_t oldest_allowed = group.id.step() - options_.max_staleness;
  std::vector<data::Rollout> kept;
  for (data::Rollout& rollout : group.rollouts) {
    const char* reason = LeftOutReason(rollout, oldest_allowed);
    if (reason == nullptr) {
      kept.push_back(std::move(rollout));
      continue;
    }
    ++open.dropped[group.id][reason];
    if (!rollout.score.message.empty()) open.failures.emplace(group.id, rollout.score.message);
  }
  group.rollouts = std::move(kept);
}

// The round's groups in the order of their ids, so that filters see the same order in every run.
Status StepLedger::Settle(Pending& open) const {
  for (auto& [id, group] : open.scored) {
    VOLERY_ASSIGN_OR_RETURN(const bool trains, Trains(group, open));
    (trains ? open.result.train : open.result.rest).push_back(std::move(group));
  }
  open.scored.clear();
  return OkStatus();
}

StatusOr<bool> StepLedger::Trains(data::Group& group, Pending& open) const {
  group.advantages.clear();
  if (group.rollouts.empty()) return false;
  const Status filled = parts_.trainer->Advantages(group);
  if (!filled.ok()) return Annotate(filled, "step ", group.id.step(), ", group ", group.id.index());
  for (data::GroupFilter* filter : parts_.filters) {
    const std::optional<std::string> reason = filter->RejectReason(group);
    if (!reason) continue;
    open.dropped[group.id][*reason] += static_cast<int64_t>(group.rollouts.size());
    return false;
  }
  return parts_.trainer->HasSignal(group);
}

void StepLedger::Finish(Pending& open) const {
  SortById(open.result.train);
  SortById(open.result.rest);
  for (const auto& [id, reasons] : open.dropped) {
    for (const auto& [reason, rollouts] : reasons) open.result.dropped[reason] += rollouts;
  }
  if (!open.failures.empty()) open.result.failure = open.failures.begin()->second;
  open.complete = true;
}

StatusOr<StepGroups> StepLedger::Wait(StepId step, int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto done = [&] {
    const auto found = open_.find(step);
    return stop_.stopped() || found == open_.end() || found->second.complete;
  };
  if (timeout_ms < 0) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), done)) {
    return DeadlineError("step ", step, " was not complete after ", timeout_ms, " ms");
  }
  if (stop_.stopped()) return stop_.reason();
  const auto found = open_.find(step);
  if (found == open_.end()) return InternalError("step ", step, " was never opened");
  StepGroups result = std::move(found->second.result);
  open_.erase(found);
  return result;
}

StepLedger::Progress StepLedger::ProgressOf(StepId step) const {
  std::lock_guard lock(mutex_);
  const auto found = open_.find(step);
  if (found == open_.end()) return {};
  return {static_cast<int64_t>(found->second.scored.size()), found->second.asked, found->second.round};
}

int64_t StepLedger::unknown_groups() const {
  std::lock_guard lock(mutex_);
  return unknown_;
}

}  // namespace volery::orchestration
