#include "core/training/step_metrics.h"

#include <algorithm>
#include <cmath>

namespace volery::training {

void SamplerDifference::Observe(const data::TrainSequence& sequence, size_t position, double logprob,
                                int64_t current_version) {
  if (sequence.behaviour.empty() || sequence.versions[position] < 0) return;
  const double difference = logprob - static_cast<double>(sequence.behaviour[position]);
  const double k3 = std::expm1(difference) - difference;
  if (sequence.versions[position] == current_version && sequence.oldest_states[position] == current_version) {
    const double distance = std::abs(difference);
    ++mismatch_tokens;
    mismatch_sum += distance;
    mismatch_k3 += k3;
    if (!(distance <= largest)) largest = distance;
  } else {
    ++drift_tokens;
    drift_k3 += k3;
  }
}

std::array<double, SamplerDifference::kSums> SamplerDifference::PackSums() const {
  return {mismatch_tokens, mismatch_sum, mismatch_k3, drift_tokens, drift_k3};
}

void SamplerDifference::UnpackSums(std::span<const double> v) {
  mismatch_tokens = v[0];
  mismatch_sum = v[1];
  mismatch_k3 = v[2];
  drift_tokens = v[3];
  drift_k3 = v[4];
}

void SamplerDifference::Report(base::MetricRow& row) const {
  if (mismatch_tokens > 0) {
    row["mismatch/max"] = largest;
    row["mismatch/mean"] = mismatch_sum / mismatch_tokens;
    row["mismatch/k3"] = mismatch_k3 / mismatch_tokens;
  }
  if (drift_tokens > 0) row["drift_kl"] = drift_k3 / drift_tokens;
}

void DescribeBatch(std::span<const data::TrainSequence> sequences, int64_t current_version,
                   base::MetricRow& row) {
  if (sequences.empty()) return;
  const auto n = static_cast<double>(sequences.size());
  std::vector<double> lengths;
  double tokens = 0, truncated = 0, age_sum = 0, age_max = 0, aged = 0, advantage_sum = 0, advantage_max = 0;
  for (const data::TrainSequence& sequence : sequences) {
    lengths.push_back(static_cast<double>(sequence.length() - sequence.prompt_length));
    tokens += static_cast<double>(sequence.LossTokens());
    truncated += sequence.truncated;
    advantage_sum += std::abs(sequence.advantage);
    advantage_max = std::max(advantage_max, std::abs(sequence.advantage));
    int64_t oldest = -1;
    for (int64_t version : sequence.oldest_states) {
      if (version >= 0 && (oldest < 0 || version < oldest)) oldest = version;
    }
    if (oldest < 0) continue;
    const auto age = static_cast<double>(current_version - oldest);
    ++aged;
    age_sum += age;
    age_max = std::max(age_max, age);
  }
  std::sort(lengths.begin(), lengths.end());
  double length_sum = 0;
  for (double length : lengths) length_sum += length;
  row["tokens"] = tokens;
  row["truncated"] = truncated / n;
  row["seq_len/mean"] = length_sum / n;
  row["seq_len/p90"] = lengths[std::min(lengths.size() - 1, lengths.size() * 9 / 10)];
  row["advantage/abs_mean"] = advantage_sum / n;
  row["advantage/abs_max"] = advantage_max;
  if (aged > 0) row["staleness/mean"] = age_sum / aged;
  if (aged > 0) row["staleness/max"] = age_max;
}

}  // namespace volery::training
