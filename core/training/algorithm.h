#pragma once
// What an RL algorithm is to the trainer: an advantage function over a group and a LossSpec. Presets are rows
// of a table (DESIGN section 8). Plain data and pure functions, no LibTorch; thread-safe.
//
//   VOLERY_ASSIGN_OR_RETURN(AlgorithmOptions algorithm, PresetAlgorithm("grpo"));
//   algorithm.loss.clip_high = 0.28;

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace volery::training {

// The policy whose log-probs o divide in the ratio r = exp(l - o): the one that sampled, or the trainer's own
// at the start of the step (recomputed).
enum class Denominator : uint8_t { kBehaviour, kProximal };
// Of r: each token's, or exp(mean over the sequence of l - o) for all tokens of it (GSPO).
enum class RatioLevel : uint8_t { kToken, kSequence };
// N of the sum over tokens: tokens that count; sequences x tokens of each (mean over sequences of their token
// mean); or sequences x `constant`.
enum class Normaliser : uint8_t { kTokens, kSequences, kConstant };
// x = l - ref. k1: x; k2: x^2 / 2; k3: exp(-x) - 1 + x. (Schulman, "Approximating KL divergence".)
enum class KlEstimator : uint8_t { kK1, kK2, kK3 };
// mean_std: (r - mean) / (std + epsilon), std with n - 1; mean: r - mean; leave_one_out: r - mean of the
// others.
enum class AdvantageKind : uint8_t { kMeanStd, kMean, kLeaveOneOut };

struct AdvantageSpec {
  AdvantageKind kind = AdvantageKind::kMeanStd;
  double epsilon = 1e-4;
};

// Loss of a batch = sum over its counted tokens of 1/N x
//   policy_weight x max(-c1 A, -c2 A) + kl x K(l - ref) - entropy x H + quadratic x (l - o)^2 - cross_entropy
//   x l
// with c1 = min(r, delta) (delta 0: r) and c2 = min(max(c1, 1 - clip_low), 1 + clip_high).
struct LossSpec {
  Denominator denominator = Denominator::kBehaviour;
  RatioLevel ratio_level = RatioLevel::kToken;
  double clip_low = 0.2;
  double clip_high = 0.2;
  double delta = 4;  // caps r where A < 0; 0: no cap
  Normaliser normaliser = Normaliser::kTokens;
  double constant = 1;  // of kConstant: max_new_tokens
  KlEstimator kl_estimator = KlEstimator::kK3;
  double kl = 0;  // > 0 holds a copy of the first weights as reference
  double entropy = 0;
  double quadratic = 0;
  double cross_entropy = 0;
  double policy_weight = 1;
};

struct AlgorithmOptions {
  std::string preset = "grpo";  // for messages
  AdvantageSpec advantage;
  LossSpec loss;
  int optimiser_steps = 1;  // on one batch; one version
  int max_refill = 3;       // the loop's: refill rounds for groups without signal
};

// The row of that name; kConstant's constant is left 1 for the caller to set. Error: unknown name, listing
// all.
StatusOr<AlgorithmOptions> PresetAlgorithm(std::string_view name);
std::vector<std::string> PresetNames();
// The supervised loss: mean cross-entropy over counted tokens.
LossSpec SupervisedLoss();

// Every field out of range at once, by its recipe key.
Status CheckAlgorithm(const AlgorithmOptions& options);

// One advantage a reward; all exactly 0 where the rewards are equal or there is only one. Error: a reward
// that isn't finite.
StatusOr<std::vector<double>> ComputeAdvantages(const AdvantageSpec& spec, std::span<const double> rewards);

// Recipe words: "behaviour" | "proximal"; "token" | "sequence"; "tokens" | "sequences" | "constant"; "k1" |
// "k2" | "k3"; "mean_std" | "mean" | "leave_one_out". Errors list the words.
StatusOr<Denominator> ParseDenominator(std::string_view word);
StatusOr<RatioLevel> ParseRatioLevel(std::string_view word);
StatusOr<Normaliser> ParseNormaliser(std::string_view word);
StatusOr<KlEstimator> ParseKlEstimator(std::string_view word);
StatusOr<AdvantageKind> ParseAdvantageKind(std::string_view word);

}  // namespace volery::training
