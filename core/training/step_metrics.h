#pragma once
// What a training step reports besides its loss: how far the trainer's log-probs are from those recorded at
// sampling (mismatch where the trainer's own version sampled over its own state, drift otherwise), staleness,
// lengths, advantages. Plain arithmetic; the trainer's thread only.

#include <array>
#include <span>
#include <vector>

#include "core/base/metrics.h"
#include "core/data/packing.h"

namespace volery::training {

// Sums over tokens; they add up over micro-batches and ranks, except `largest`.
struct SamplerDifference {
  double mismatch_tokens = 0, mismatch_sum = 0, mismatch_k3 = 0;
  double drift_tokens = 0, drift_k3 = 0;
  double largest = 0;  // |difference| among mismatch tokens; NaN once one was NaN

  // Token `position` of `sequence` has log-prob `logprob` now. Tokens without a recorded log-prob are left
  // out.
  void Observe(const data::TrainSequence& sequence, size_t position, double logprob, int64_t current_version);

  static constexpr size_t kSums = 5;
  std::array<double, kSums> PackSums() const;
  void UnpackSums(std::span<const double> values);
  // mismatch/max|mean|k3 and drift_kl, each only where there were such tokens.
  void Report(base::MetricRow& row) const;
};

// tokens (that count in the loss), advantage/abs_mean|abs_max. What else is to say of a batch the loop says.
void DescribeBatch(std::span<const data::TrainSequence> sequences, base::MetricRow& row);

}  // namespace volery::training
