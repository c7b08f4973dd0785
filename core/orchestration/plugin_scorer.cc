#include "core/orchestration/plugin_scorer.h"

#include <chrono>

namespace volery::orchestration {
namespace {

constexpr std::chrono::milliseconds kPoll(50);  // how long the end of a run may wait for a reward in progress

plugin::RewardSample ToSample(const data::Group& group, const data::Rollout& rollout) {
  const data::Task& task = *group.task;
  plugin::RewardSample sample;
  sample.group = group.id;
  sample.sample = rollout.sample;
  sample.task_index = task.index;
  sample.task_id = task.id;
  sample.task_type = task.type;
  sample.prompt = task.prompt_text;
  sample.completion = rollout.completion;
  sample.answer = task.answer;
  sample.stop = rollout.stop;
  sample.spans = rollout.spans;
  sample.columns = std::shared_ptr<const nlohmann::json>(group.task, &task.columns);
  return sample;
}

}  // namespace

data::Score CombineStart() {
  data::Score score;
  score.status = data::RewardStatus::kNotApplicable;
  return score;
}

void Combine(const std::string& name, double weight, const plugin::RewardResult& result, data::Score& score) {
  score.ms += result.ms;
  const bool failed_before =
      score.status == data::RewardStatus::kError || score.status == data::RewardStatus::kTimeout;
  if (result.status == data::RewardStatus::kNotApplicable) return;
  if (result.status != data::RewardStatus::kOk) {
    if (failed_before) return;
    score.status = result.status;
    score.message = Cat(name, ": ", result.message);
    return;
  }
  if (!failed_before) score.status = data::RewardStatus::kOk;
  score.total += weight * result.score;
  score.components.push_back({name, result.score});
  for (const data::RewardComponent& part : result.components)
    score.components.push_back({Cat(name, "/", part.name), part.value});
}

Status PluginScorer::ScoreGroup(data::Group& group, const base::StopToken& stop) {
  if (stop.stopped()) return stop.reason();
  std::vector<std::future<plugin::RewardPool::Results>> pending;
  for (const WeightedReward& reward : rewards_) {
    plugin::RewardRequest request;
    request.plugin = reward.plugin;
    request.timeout_ms = reward.timeout_ms;
    for (const data::Rollout& rollout : group.rollouts) request.samples.push_back(ToSample(group, rollout));
    pending.push_back(pool_.Submit(std::move(request)));
  }
  for (data::Rollout& rollout : group.rollouts) rollout.score = CombineStart();
  for (size_t r = 0; r < rewards_.size(); ++r) {
    while (pending[r].wait_for(kPoll) != std::future_status::ready) {
      if (stop.stopped()) return stop.reason();
    }
    const plugin::RewardPool::Results results = pending[r].get();
    if (!results.ok()) return Annotate(results.status(), "reward ", rewards_[r].name);
    if (results->size() != group.rollouts.size())
      return InternalError("reward ", rewards_[r].name, " gave ", results->size(), " results");
    for (size_t i = 0; i < results->size(); ++i) {
      Combine(rewards_[r].name, rewards_[r].weight, (*results)[i], group.rollouts[i].score);
    }
  }
  return OkStatus();
}

base::MetricRow PluginScorer::TakeMetrics() {
  base::MetricRow row;
  for (const WeightedReward& reward : rewards_) {
    for (const auto& [name, value] : reward.plugin->TakeMetrics())
      row[Cat("reward/", reward.name, "/", name)] = value;
  }
  return row;
}

}  // namespace volery::orchestration
