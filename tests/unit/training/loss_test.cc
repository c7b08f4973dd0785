#include "core/training/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "golden.h"

namespace volery::training {
namespace {

LossSpec ReadSpec(const nlohmann::json& json) {
  LossSpec spec;
  spec.ratio_level = *ParseRatioLevel(json["ratio_level"].get<std::string>());
  spec.normaliser = *ParseNormaliser(json["normaliser"].get<std::string>());
  spec.kl_estimator = *ParseKlEstimator(json["kl_estimator"].get<std::string>());
  for (auto [key, field] : {std::pair{"clip_low", &spec.clip_low},
                            {"clip_high", &spec.clip_high},
                            {"delta", &spec.delta},
                            {"constant", &spec.constant},
                            {"kl", &spec.kl},
                            {"entropy", &spec.entropy},
                            {"quadratic", &spec.quadratic},
                            {"cross_entropy", &spec.cross_entropy},
                            {"policy_weight", &spec.policy_weight}}) {
    json[key].get_to(*field);
  }
  return spec;
}

TEST(Loss, AgreesWithTheRecording) {
  const nlohmann::json golden = ReadGolden("losses.json");
  ASSERT_GE(golden["losses"].size(), 20u);
  for (const auto& vector : golden["losses"]) {
    const std::string name = vector["name"];
    const LossSpec spec = ReadSpec(vector["spec"]);
    NormaliserCounts counts;
    for (const auto& sequence : vector["sequences"]) {
      counts.tokens += static_cast<int64_t>(sequence["logprob"].size());
      ++counts.sequences;
    }
    LossSums sums;
    for (size_t i = 0; i < vector["sequences"].size(); ++i) {
      const auto& sequence = vector["sequences"][i];
      const auto l = sequence["logprob"].get<std::vector<double>>(),
                 o = sequence["denominator"].get<std::vector<double>>();
      const auto h = sequence["entropy"].get<std::vector<double>>(),
                 reference = sequence["reference"].get<std::vector<double>>();
      std::vector<double> gradient_l(l.size()), gradient_h(l.size());
      const double weight = TokenWeight(spec, counts, static_cast<int64_t>(l.size()));
      EvaluateSequence(spec, {l, h, o, reference, sequence["advantage"], weight}, sums, gradient_l,
                       gradient_h);
      ExpectNear(gradient_l, vector["expected"]["gradient_logprob"][i], 1e-6, name + " dL/dl");
      ExpectNear(gradient_h, vector["expected"]["gradient_entropy"][i], 1e-6, name + " dL/dH");
    }
    const double expected = vector["expected"]["loss"];
    EXPECT_NEAR(sums.loss, expected, 1e-9 * std::max(1e-3, std::abs(expected))) << name;
    EXPECT_EQ(sums.tokens, static_cast<double>(counts.tokens)) << name;
  }
}

TEST(Loss, CountsWhatIsClipped) {
  LossSpec spec;
  const std::vector<double> o(4, -1.0), h(4, 0.5);
  const std::vector<double> l = {-1 + std::log(0.5), -1, -1 + std::log(1.5), -1 + std::log(5.0)};
  std::vector<double> g(4), gh(4);
  LossSums negative, positive;
  EvaluateSequence(spec, {l, h, o, {}, -1.0, 0.25}, negative, g, gh);
  EXPECT_EQ(negative.clipped_low, 1);
  EXPECT_EQ(negative.clipped_high, 0);
  EXPECT_EQ(negative.clipped_delta, 1);
  EXPECT_EQ(g[0], 0);
  EXPECT_NE(g[2], 0);
  EXPECT_EQ(g[3], 0);
  EvaluateSequence(spec, {l, h, o, {}, 1.0, 0.25}, positive, g, gh);
  EXPECT_EQ(positive.clipped_low, 0);
  EXPECT_EQ(positive.clipped_high, 2);
  EXPECT_EQ(positive.clipped_delta, 0);
}

TEST(Loss, EffectiveSampleSizeIsOneOnPolicyAndFallsWithSpread) {
  LossSpec spec;
  const std::vector<double> l = {-1, -2, -3}, h(3, 0.5), far = {-1, -2, -6};
  std::vector<double> g(3), gh(3);
  LossSums same, spread;
  EvaluateSequence(spec, {l, h, l, {}, 1, 1}, same, g, gh);
  EXPECT_DOUBLE_EQ(same.EffectiveSampleSize(), 1);
  EvaluateSequence(spec, {l, h, far, {}, 1, 1}, spread, g, gh);
  EXPECT_LT(spread.EffectiveSampleSize(), 0.5);
  EXPECT_EQ(LossSums().EffectiveSampleSize(), 0);
}

TEST(Loss, SumsAddUp) {
  LossSums a = LossSums::Unpack(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  a.Add(a);
  EXPECT_EQ(a.Pack(), (std::array<double, LossSums::kCount>{2, 4, 6, 8, 10, 12, 14, 16, 18}));
}

TEST(Loss, KlSlopesAreDerivatives) {
  for (auto estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    for (double x : {-1.5, -1e-3, 0.0, 0.4, 2.0}) {
      const double step = 1e-6;
      const double numeric =
          (EstimateKl(estimator, x + step).value - EstimateKl(estimator, x - step).value) / (2 * step);
      EXPECT_NEAR(EstimateKl(estimator, x).slope, numeric, 1e-8);
    }
  }
}

}  // namespace
}  // namespace volery::training
