#include "core/training/algorithm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace volery::training {
namespace {

LossSpec TwoSided(Denominator denominator, Normaliser normaliser, double delta, double kl, double entropy) {
  LossSpec loss;
  loss.denominator = denominator;
  loss.normaliser = normaliser;
  loss.delta = delta;
  loss.kl = kl;
  loss.entropy = entropy;
  return loss;
}

const std::vector<AlgorithmOptions>& Presets() {
  constexpr auto kBehaviour = Denominator::kBehaviour;
  constexpr auto kProximal = Denominator::kProximal;
  constexpr auto kTokens = Normaliser::kTokens;
  constexpr auto kMeanStd = AdvantageKind::kMeanStd;
  static const std::vector<AlgorithmOptions> table = {
      {"grpo", {kMeanStd, 1e-4}, TwoSided(kBehaviour, kTokens, 4, 0, 0), 1},
      {"dr_grpo", {AdvantageKind::kMean, 0}, TwoSided(kBehaviour, Normaliser::kConstant, 0, 0, 0), 1},
      {"intellect2-code", {kMeanStd, 1e-6}, TwoSided(kProximal, kTokens, 4, 0, 1e-3), 8},
      {"intellect2-paper", {kMeanStd, 1e-6}, TwoSided(kProximal, kTokens, 4, 1e-3, 1e-4), 8},
  };
  return table;
}

std::string Quoted(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += Cat(out.empty() ? "" : ", ", '"', word, '"');
  return out;
}

template <class Value, size_t N>
StatusOr<Value> ParseWord(const char* key, std::string_view word,
                          const std::array<std::pair<const char*, Value>, N>& table) {
  std::vector<std::string> words;
  for (const auto& [name, value] : table) {
    if (word == name) return value;
    words.push_back(name);
  }
  return InvalidError(key, " = \"", word, "\"; expected one of ", Quoted(words));
}

}  // namespace

StatusOr<AlgorithmOptions> PresetAlgorithm(std::string_view name) {
  for (const AlgorithmOptions& row : Presets()) {
    if (row.preset == name) return row;
  }
  return InvalidError("unknown algorithm preset \"", name, "\"; expected one of ", Quoted(PresetNames()));
}

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const AlgorithmOptions& row : Presets()) names.push_back(row.preset);
  return names;
}

LossSpec SupervisedLoss() {
  LossSpec loss;
  loss.policy_weight = 0;
  loss.cross_entropy = 1;
  return loss;
}

Status CheckAlgorithm(const AlgorithmOptions& options) {
  std::string problems;
  auto require = [&](bool good, const char* key, double value, const char* rule) {
    if (!good) problems += Cat(problems.empty() ? "" : "; ", "algorithm.", key, " = ", value, ": ", rule);
  };
  const LossSpec& loss = options.loss;
  require(loss.clip_low >= 0 && loss.clip_low <= 1, "clip_low", loss.clip_low, "expected 0 to 1");
  require(loss.clip_high >= 0 && std::isfinite(loss.clip_high), "clip_high", loss.clip_high, "expected >= 0");
  require(loss.delta == 0 || loss.delta > 1 + loss.clip_high, "delta", loss.delta,
          "expected 0 (off) or more than 1 + clip_high");
  require(loss.constant > 0 && std::isfinite(loss.constant), "constant", loss.constant, "expected > 0");
  for (const auto& [key, value] : {std::pair<const char*, double>{"kl", loss.kl},
                                   {"entropy", loss.entropy},
                                   {"quadratic", loss.quadratic},
                                   {"cross_entropy", loss.cross_entropy},
                                   {"policy_weight", loss.policy_weight}}) {
    require(value >= 0 && std::isfinite(value), key, value, "expected a number >= 0");
  }
  require(options.advantage.epsilon >= 0, "advantage_epsilon", options.advantage.epsilon, "expected >= 0");
  require(options.optimiser_steps >= 1, "optimiser_steps", options.optimiser_steps, "expected >= 1");
  require(options.max_refill >= 0, "max_refill", options.max_refill, "expected >= 0");
  return problems.empty() ? OkStatus() : InvalidError(problems);
}

StatusOr<std::vector<double>> ComputeAdvantages(const AdvantageSpec& spec, std::span<const double> rewards) {
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (!std::isfinite(rewards[i]))
      return InvalidError("reward ", i, " of the group is ", rewards[i], "; rewards must be finite numbers");
  }
  std::vector<double> out(rewards.size(), 0.0);
  if (rewards.size() < 2) return out;
  // Equal rewards carry no signal; the rounding error of their mean must not make one.
  const auto [low, high] = std::minmax_element(rewards.begin(), rewards.end());
  if (*low == *high) return out;
  const auto n = static_cast<double>(rewards.size());
  double mean = 0;
  for (double reward : rewards) mean += reward / n;
  double variance = 0;
  for (double reward : rewards) variance += (reward - mean) * (reward - mean) / (n - 1);
  double scale = 1;
  if (spec.kind == AdvantageKind::kMeanStd) scale = 1 / (std::sqrt(variance) + spec.epsilon);
  if (spec.kind == AdvantageKind::kLeaveOneOut) scale = n / (n - 1);
  for (size_t i = 0; i < out.size(); ++i) out[i] = (rewards[i] - mean) * scale;
  return out;
}

StatusOr<Denominator> ParseDenominator(std::string_view word) {
  return ParseWord<Denominator, 2>(
      "denominator", word, {{{"behaviour", Denominator::kBehaviour}, {"proximal", Denominator::kProximal}}});
}

StatusOr<RatioLevel> ParseRatioLevel(std::string_view word) {
  return ParseWord<RatioLevel, 2>("ratio_level", word,
                                  {{{"token", RatioLevel::kToken}, {"sequence", RatioLevel::kSequence}}});
}

StatusOr<Normaliser> ParseNormaliser(std::string_view word) {
  return ParseWord<Normaliser, 3>("normaliser", word,
                                  {{{"tokens", Normaliser::kTokens},
                                    {"sequences", Normaliser::kSequences},
                                    {"constant", Normaliser::kConstant}}});
}

StatusOr<KlEstimator> ParseKlEstimator(std::string_view word) {
  return ParseWord<KlEstimator, 3>(
      "kl_estimator", word, {{{"k1", KlEstimator::kK1}, {"k2", KlEstimator::kK2}, {"k3", KlEstimator::kK3}}});
}

StatusOr<AdvantageKind> ParseAdvantageKind(std::string_view word) {
  return ParseWord<AdvantageKind, 3>("advantage", word,
                                     {{{"mean_std", AdvantageKind::kMeanStd},
                                       {"mean", AdvantageKind::kMean},
                                       {"leave_one_out", AdvantageKind::kLeaveOneOut}}});
}

}  // namespace volery::training
