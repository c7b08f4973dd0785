#include "core/orchestration/step_metrics.h"

#include <algorithm>
#include <cmath>

namespace volery::orchestration {
namespace {

// Two passes in a fixed order: the same bits in every run.
double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double Deviation(const std::vector<double>& values) {
  const double mean = Mean(values);
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// The nearest-rank percentile.
double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank - 1, 0.0))];
}

struct Gathered {
  std::vector<double> rewards, lengths, sampled;
  std::map<std::string, std::vector<double>> components;
  int64_t truncated = 0, groups = 0, solved_all = 0, solved_none = 0;
};

void GatherGroup(const data::Group& group, Gathered& out) {
  if (group.rollouts.empty()) return;
  double low = group.rollouts.front().score.total, high = low;
  for (const data::Rollout& rollout : group.rollouts) {
    const double reward = rollout.score.total;
    low = std::min(low, reward);
    high = std::max(high, reward);
    out.rewards.push_back(reward);
    out.lengths.push_back(static_cast<double>(rollout.Length()));
    out.sampled.push_back(static_cast<double>(rollout.SampledLength()));
    out.truncated += rollout.stop == data::StopReason::kLength;
    for (const data::RewardComponent& part : rollout.score.components)
      out.components[part.name].push_back(part.value);
  }
  ++out.groups;
  out.solved_all += low == high && low > 0;
  out.solved_none += high <= 0;
}

void AddTrained(const StepGroups& groups, base::MetricRow& row) {
  std::vector<double> advantages, ages;
  for (const data::Group& group : groups.train) {
    advantages.insert(advantages.end(), group.advantages.begin(), group.advantages.end());
    for (const data::Rollout& rollout : group.rollouts) {
      const VersionId oldest = rollout.OldestVersion();
      if (oldest.value >= 0) ages.push_back(static_cast<double>(groups.step.value - oldest.value));
    }
  }
  if (!advantages.empty()) {
    row["advantage/mean"] = Mean(advantages);
    row["advantage/std"] = Deviation(advantages);
    row["advantage/min"] = *std::min_element(advantages.begin(), advantages.end());
    row["advantage/max"] = *std::max_element(advantages.begin(), advantages.end());
  }
  if (!ages.empty()) {
    row["staleness/mean"] = Mean(ages);
    row["staleness/max"] = *std::max_element(ages.begin(), ages.end());
  }
}

}  // namespace

base::MetricRow StepMetrics(const StepGroups& groups) {
  Gathered all;
  for (const data::Group& group : groups.train) GatherGroup(group, all);
  for (const data::Group& group : groups.rest) GatherGroup(group, all);
  base::MetricRow row;
  if (!all.rewards.empty()) {
    const double rollouts = static_cast<double>(all.rewards.size());
    row["reward/mean"] = Mean(all.rewards);
    row["reward/std"] = Deviation(all.rewards);
    row["seq_len/mean"] = Mean(all.lengths);
    row["seq_len/p90"] = Percentile(all.lengths, 0.9);
    row["seq_len/sampled_mean"] = Mean(all.sampled);
    row["truncated"] = static_cast<double>(all.truncated) / rollouts;
    row["groups/solved_all"] = static_cast<double>(all.solved_all) / static_cast<double>(all.groups);
    row["groups/solved_none"] = static_cast<double>(all.solved_none) / static_cast<double>(all.groups);
  }
  for (const auto& [name, values] : all.components) row["reward/" + name] = Mean(values);
  row["groups/trained"] = static_cast<double>(groups.train.size());
  row["groups/refill_rounds"] = groups.refill_rounds;
  for (const auto& [reason, rollouts] : groups.dropped)
    row["dropped/" + reason] = static_cast<double>(rollouts);
  AddTrained(groups, row);
  return row;
}

}  // namespace volery::orchestration
