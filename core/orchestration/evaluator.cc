#include "core/orchestration/evaluator.h"

#include <algorithm>

namespace volery::orchestration {
namespace {

constexpr int64_t kTickMs = 200;
constexpr double kRounding = 1e-9;  // weighted sums that should be 1 may miss it by a rounding

struct Sums {
  double reward = 0, length = 0;
  int64_t samples = 0, failed = 0, solved = 0, passed = 0, truncated = 0;
};

void AddGroup(const data::Group& group, const EvalOptions& options, Sums& sums) {
  bool passed = false;
  for (const data::Rollout& rollout : group.rollouts) {
    if (rollout.score.status != data::RewardStatus::kOk) {
      ++sums.failed;
      continue;
    }
    const bool solved = options.Solves(rollout.score.total);
    ++sums.samples;
    sums.reward += rollout.score.total;
    sums.length += static_cast<double>(rollout.SampledLength());
    sums.solved += solved;
    sums.truncated += rollout.stop == data::StopReason::kLength;
    passed |= solved;
  }
  sums.passed += passed;
}

double Share(double part, int64_t whole) {
  return whole > 0 ? part / static_cast<double>(whole) : 0.0;
}

// One rollout a candidate; rewards read the text.
data::Group AnswerAll(const std::shared_ptr<const data::Task>& task,
                      const std::vector<std::string>& candidates, size_t begin, size_t end) {
  data::Group group;
  group.task = task;
  for (size_t i = begin; i < end; ++i) {
    data::Rollout rollout;
    rollout.sample = static_cast<int32_t>(i - begin);
    rollout.spans = {{data::SpanOrigin::kPrompt, task->prompt, {}, {}, {}},
                     {data::SpanOrigin::kSampled, {}, {}, {}, {}}};
    rollout.completion = candidates[i];
    group.rollouts.push_back(std::move(rollout));
  }
  return group;
}

}  // namespace

bool EvalOptions::Solves(double reward) const {
  return reward >= solved_at - kRounding;
}

base::MetricRow EvalResult::Metrics(const EvalOptions& options) const {
  const std::string prefix = Cat("eval/", options.name, "/");
  return {{Cat(prefix, "avg@", options.samples), average},
          {Cat(prefix, "pass@", options.samples), passed},
          {prefix + "seq_len", mean_length},
          {prefix + "truncated", truncated},
          {prefix + "failed", static_cast<double>(failed)}};
}

Evaluator::Evaluator(EvalOptions options, std::shared_ptr<const data::TaskSource> held_out,
                     data::RolloutSource& source, base::StopToken stop)
    : options_(std::move(options)), held_out_(std::move(held_out)), source_(source), stop_(std::move(stop)) {
  stop_handle_ = stop_.OnStop([this] {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
}

StatusOr<std::vector<data::GroupSpec>> Evaluator::Specs(int round, int64_t number) const {
  std::vector<data::GroupSpec> specs;
  for (int64_t i = 0; i < held_out_->size(); ++i) {
    data::GroupSpec spec;
    spec.id = GroupId::Make(number, round, static_cast<int>(i));
    VOLERY_ASSIGN_OR_RETURN(spec.task, held_out_->Get(i));
    spec.samples = options_.samples;
    spec.params = options_.sampling;
    specs.push_back(std::move(spec));
  }
  return specs;
}

StatusOr<std::optional<EvalResult>> Evaluator::Run(VersionId version, int round, int64_t number,
                                                   base::StopToken finish,
                                                   const std::function<void()>& tick) {
  VOLERY_ASSIGN_OR_RETURN(std::vector<data::GroupSpec> specs, Specs(round, number));
  {
    std::lock_guard lock(mutex_);
    asked_.clear();
    for (const data::GroupSpec& spec : specs) asked_.push_back(spec.id);
    groups_.assign(specs.size(), {});
    missing_ = static_cast<int64_t>(specs.size());
  }
  const auto handle = finish.OnStop([this] {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  VOLERY_RETURN_IF_ERROR(source_.Admit(std::move(specs)));
  std::unique_lock lock(mutex_);
  const auto done = [&] { return stop_.stopped() || finish.stopped() || missing_ == 0; };
  while (!changed_.wait_for(lock, std::chrono::milliseconds(kTickMs), done)) {
    lock.unlock();
    tick();
    lock.lock();
  }
  asked_.clear();
  if (stop_.stopped()) return stop_.reason();
  if (missing_ > 0) return std::optional<EvalResult>();
  const std::vector<data::Group> groups = std::move(groups_);
  lock.unlock();
  return std::optional<EvalResult>(Summarise(version, groups));
}

Status Evaluator::OnScored(data::Group group) {
  std::lock_guard lock(mutex_);
  const size_t number = static_cast<size_t>(group.id.index());
  if (number >= asked_.size() || asked_[number] != group.id || groups_[number].task != nullptr)
    return OkStatus();
  groups_[number] = std::move(group);
  if (--missing_ == 0) changed_.notify_all();
  return OkStatus();
}

Evaluator::Progress Evaluator::progress() const {
  std::lock_guard lock(mutex_);
  const int64_t asked = static_cast<int64_t>(asked_.size());
  return {asked - (asked > 0 ? missing_ : 0), asked};
}

EvalResult Evaluator::Summarise(VersionId version, const std::vector<data::Group>& groups) const {
  Sums sums;
  EvalResult result;
  for (const data::Group& group : groups) {
    AddGroup(group, options_, sums);
    if (static_cast<int64_t>(result.examples.size()) >= options_.examples || group.rollouts.empty()) continue;
    const data::Rollout& first = group.rollouts.front();
    result.examples.push_back(
        {group.task->prompt_text, first.completion, group.task->answer, first.score.total});
  }
  result.version = version;
  result.tasks = static_cast<int64_t>(groups.size());
  result.samples = sums.samples;
  result.failed = sums.failed;
  result.average = Share(sums.reward, sums.samples);
  result.passed = Share(static_cast<double>(sums.passed), result.tasks);
  result.solved = Share(static_cast<double>(sums.solved), sums.samples);
  result.mean_length = Share(sums.length, sums.samples);
  result.truncated = Share(static_cast<double>(sums.truncated), sums.samples);
  return result;
}

StatusOr<ConstantAnswer> BestConstantAnswer(const std::vector<std::string>& candidates,
                                            const data::TaskSource& tasks, data::Scorer& scorer,
                                            base::StopToken stop) {
  constexpr size_t kAtOnce = 256;
  if (candidates.empty()) return InvalidError("there is no constant answer to score");
  std::vector<double> sums(candidates.size(), 0.0);
  for (int64_t i = 0; i < tasks.size(); ++i) {
    VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const data::Task> task, tasks.Get(i));
    for (size_t begin = 0; begin < candidates.size(); begin += kAtOnce) {
      if (stop.stopped()) return stop.reason();
      data::Group group = AnswerAll(task, candidates, begin, std::min(begin + kAtOnce, candidates.size()));
      VOLERY_RETURN_IF_ERROR(scorer.ScoreGroup(group, stop));
      for (size_t j = 0; j < group.rollouts.size(); ++j) {
        const data::Score& score = group.rollouts[j].score;
        if (score.status == data::RewardStatus::kOk) sums[begin + j] += score.total;
      }
    }
  }
  const size_t best = static_cast<size_t>(std::max_element(sums.begin(), sums.end()) - sums.begin());
  return ConstantAnswer{candidates[best], sums[best] / static_cast<double>(tasks.size())};
}

}  // namespace volery::orchestration
