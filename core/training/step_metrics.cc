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

void DescribeBatch(std::span<const data::TrainSequence> sequences, base::MetricRow& row) {
  if (sequences.empty()) return;
  double tokens = 0, sum = 0, largest = 0;
  for (const data::TrainSequence& sequence : sequences) {
    tokens += static_cast<double>(sequence.LossTokens());
    sum += std::abs(sequence.advantage);
    largest = std::max(largest, std::abs(sequence.advantage));
  }
  row["tokens"] = tokens;
  row["advantage/abs_mean"] = sum / static_cast<double>(sequences.size());
  row["advantage/abs_max"] = largest;
}

}  // namespace volery::training
