#pragma once
// The loss of LossSpec, evaluated per token in double from log-probs and entropies, with its exact gradient
// with respect to both, and the statistics of the step. It knows neither models nor tensors nor
// micro-batches: a caller hands over whole sequences in any portions, with normalisers counted over the whole
// batch and all ranks before, so the result does not depend on the portions. Pure functions over plain
// arrays; thread-safe.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/training/algorithm.h"

namespace volery::training {

// Counted over all sequences of one optimiser step, on all ranks.
struct NormaliserCounts {
  int64_t tokens = 0;     // counted tokens
  int64_t sequences = 0;  // sequences with at least one counted token
};

// 1/N for each token of a sequence with `sequence_tokens` counted tokens.
double TokenWeight(const LossSpec& spec, const NormaliserCounts& counts, int64_t sequence_tokens);

// The counted tokens of one sequence. `reference` may be empty when spec.kl is 0.
struct SequenceTerms {
  std::span<const double> logprob;      // l, of the current weights
  std::span<const double> entropy;      // H of the same distribution
  std::span<const double> denominator;  // o
  std::span<const double> reference;
  double advantage = 0;
  double weight = 0;  // TokenWeight
};

// Sums over tokens, so that portions and ranks add up.
struct LossSums {
  double loss = 0;
  double tokens = 0;
  double entropy = 0;
  double clipped_low = 0;    // A < 0, r < 1 - clip_low: no gradient
  double clipped_high = 0;   // A > 0, r > 1 + clip_high: no gradient
  double clipped_delta = 0;  // A < 0, r > delta: no gradient
  double ratio = 0, ratio_squared = 0;
  double kl = 0;  // K(l - ref)

  static constexpr size_t kCount = 9;
  std::array<double, kCount> Pack() const;
  static LossSums Unpack(std::span<const double> values);
  void Add(const LossSums& other);
  double EffectiveSampleSize() const;  // (sum r)^2 / (n sum r^2), in (0, 1]
};

// Adds the sequence to `sums` and writes dLoss/dl and dLoss/dH of each of its tokens (arrays of that size).
void EvaluateSequence(const LossSpec& spec, const SequenceTerms& terms, LossSums& sums,
                      std::span<double> gradient_logprob, std::span<double> gradient_entropy);

// K(x) and dK/dx, x = l - ref.
struct ValueAndSlope {
  double value = 0, slope = 0;
};
ValueAndSlope EstimateKl(KlEstimator estimator, double x);

}  // namespace volery::training
