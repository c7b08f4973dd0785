#include "core/training/loss.h"

#include <algorithm>
#include <cmath>

namespace volery::training {
namespace {

// max(-c1 A, -c2 A) and its slope in r. The slope is 0 where the cap or the clip is what counts.
ValueAndSlope ClippedObjective(const LossSpec& spec, double ratio, double advantage) {
  const double capped = spec.delta > 0 ? std::min(ratio, spec.delta) : ratio;
  const double clipped = std::clamp(capped, 1 - spec.clip_low, 1 + spec.clip_high);
  if (-capped * advantage >= -clipped * advantage) {
    const bool alive = spec.delta == 0 || ratio <= spec.delta;
    return {-capped * advantage, alive ? -advantage : 0};
  }
  return {-clipped * advantage, 0};
}

void CountClips(const LossSpec& spec, double ratio, double advantage, LossSums& sums) {
  if (advantage > 0 && ratio > 1 + spec.clip_high) ++sums.clipped_high;
  if (advantage < 0 && ratio < 1 - spec.clip_low) ++sums.clipped_low;
  if (advantage < 0 && spec.delta > 0 && ratio > spec.delta) ++sums.clipped_delta;
}

double MeanDifference(const SequenceTerms& terms) {
  double sum = 0;
  for (size_t i = 0; i < terms.logprob.size(); ++i) sum += terms.logprob[i] - terms.denominator[i];
  return sum / static_cast<double>(terms.logprob.size());
}

}  // namespace

double TokenWeight(const LossSpec& spec, const NormaliserCounts& counts, int64_t sequence_tokens) {
  switch (spec.normaliser) {
    case Normaliser::kTokens:
      return 1 / static_cast<double>(counts.tokens);
    case Normaliser::kSequences:
      return 1 / (static_cast<double>(counts.sequences) * static_cast<double>(sequence_tokens));
    case Normaliser::kConstant:
      return 1 / (static_cast<double>(counts.sequences) * spec.constant);
  }
  return 0;
}

std::array<double, LossSums::kCount> LossSums::Pack() const {
  return {loss, tokens, entropy, clipped_low, clipped_high, clipped_delta, ratio, ratio_squared, kl};
}

LossSums LossSums::Unpack(std::span<const double> v) {
  VOLERY_CHECK(v.size() == kCount);
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
}

void LossSums::Add(const LossSums& other) {
  auto mine = Pack();
  const auto theirs = other.Pack();
  for (size_t i = 0; i < kCount; ++i) mine[i] += theirs[i];
  *this = Unpack(mine);
}

double LossSums::EffectiveSampleSize() const {
  return ratio_squared > 0 ? ratio * ratio / (tokens * ratio_squared) : 0;
}

ValueAndSlope EstimateKl(KlEstimator estimator, double x) {
  switch (estimator) {
    case KlEstimator::kK1:
      return {x, 1};
    case KlEstimator::kK2:
      return {x * x / 2, x};
    case KlEstimator::kK3:
      return {std::expm1(-x) + x, -std::expm1(-x)};
  }
  return {};
}

void EvaluateSequence(const LossSpec& spec, const SequenceTerms& terms, LossSums& sums,
                      std::span<double> gradient_logprob, std::span<double> gradient_entropy) {
  const size_t n = terms.logprob.size();
  if (n == 0) return;
  const bool by_sequence = spec.ratio_level == RatioLevel::kSequence && spec.policy_weight > 0;
  const double mean_difference = by_sequence ? MeanDifference(terms) : 0;
  double shared_slope = 0;
  for (size_t i = 0; i < n; ++i) {
    const double difference = terms.logprob[i] - terms.denominator[i];
    const double ratio = std::exp(by_sequence ? mean_difference : difference);
    const ValueAndSlope policy = ClippedObjective(spec, ratio, terms.advantage);
    const ValueAndSlope kl =
        spec.kl > 0 ? EstimateKl(spec.kl_estimator, terms.logprob[i] - terms.reference[i]) : ValueAndSlope{};
    const double value = spec.policy_weight * policy.value + spec.kl * kl.value -
                         spec.entropy * terms.entropy[i] + spec.quadratic * difference * difference -
                         spec.cross_entropy * terms.logprob[i];
    double slope = spec.kl * kl.slope + 2 * spec.quadratic * difference - spec.cross_entropy;
    const double policy_slope = spec.policy_weight * policy.slope * ratio;
    (by_sequence ? shared_slope : slope) += policy_slope;
    gradient_logprob[i] = terms.weight * slope;
    gradient_entropy[i] = -terms.weight * spec.entropy;
    sums.loss += terms.weight * value;
    sums.entropy += terms.entropy[i];
    sums.ratio += ratio;
    sums.ratio_squared += ratio * ratio;
    sums.kl += kl.value;
    CountClips(spec, ratio, terms.advantage, sums);
  }
  sums.tokens += static_cast<double>(n);
  if (!by_sequence) return;
  for (size_t i = 0; i < n; ++i) gradient_logprob[i] += terms.weight * shared_slope / static_cast<double>(n);
}

}  // namespace volery::training
