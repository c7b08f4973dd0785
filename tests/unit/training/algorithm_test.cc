#include "core/training/algorithm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "golden.h"

namespace volery::training {
namespace {

TEST(Algorithm, PresetsAreTheTable) {
  EXPECT_EQ(PresetNames(),
            (std::vector<std::string>{"grpo", "dr_grpo", "intellect2-code", "intellect2-paper"}));
  struct Row {
    const char* name;
    AdvantageKind advantage;
    double epsilon;
    Denominator denominator;
    Normaliser normaliser;
    double kl, entropy, delta;
    int steps;
  };
  const Row rows[] = {
      {"grpo", AdvantageKind::kMeanStd, 1e-4, Denominator::kBehaviour, Normaliser::kTokens, 0, 0, 4, 1},
      {"dr_grpo", AdvantageKind::kMean, 0, Denominator::kBehaviour, Normaliser::kConstant, 0, 0, 0, 1},
      {"intellect2-code", AdvantageKind::kMeanStd, 1e-6, Denominator::kProximal, Normaliser::kTokens, 0, 1e-3,
       4, 8},
      {"intellect2-paper", AdvantageKind::kMeanStd, 1e-6, Denominator::kProximal, Normaliser::kTokens, 1e-3,
       1e-4, 4, 8},
  };
  for (const Row& row : rows) {
    const auto preset = PresetAlgorithm(row.name);
    ASSERT_TRUE(preset.ok()) << row.name;
    EXPECT_EQ(preset->advantage.kind, row.advantage) << row.name;
    EXPECT_EQ(preset->advantage.epsilon, row.epsilon) << row.name;
    EXPECT_EQ(preset->loss.denominator, row.denominator) << row.name;
    EXPECT_EQ(preset->loss.normaliser, row.normaliser) << row.name;
    EXPECT_EQ(preset->loss.kl, row.kl) << row.name;
    EXPECT_EQ(preset->loss.kl_estimator, KlEstimator::kK3) << row.name;
    EXPECT_EQ(preset->loss.entropy, row.entropy) << row.name;
    EXPECT_EQ(preset->loss.clip_low, 0.2) << row.name;
    EXPECT_EQ(preset->loss.clip_high, 0.2) << row.name;
    EXPECT_EQ(preset->loss.delta, row.delta) << row.name;
    EXPECT_EQ(preset->optimiser_steps, row.steps) << row.name;
    EXPECT_TRUE(CheckAlgorithm(*preset).ok()) << row.name;
  }
  EXPECT_NE(Message(PresetAlgorithm("ppo").status()).find("\"intellect2-paper\""), std::string::npos);
}

TEST(Algorithm, AllProblemsAtOnce) {
  AlgorithmOptions options;
  options.loss.clip_low = 1.5;
  options.loss.delta = 1.1;
  options.loss.kl = -1;
  options.optimiser_steps = 0;
  const std::string message = Message(CheckAlgorithm(options));
  for (const char* key : {"algorithm.clip_low = 1.5", "algorithm.delta = 1.1", "algorithm.kl = -1",
                          "algorithm.optimiser_steps = 0"}) {
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
}

TEST(Algorithm, Words) {
  EXPECT_EQ(*ParseDenominator("proximal"), Denominator::kProximal);
  EXPECT_EQ(*ParseRatioLevel("sequence"), RatioLevel::kSequence);
  EXPECT_EQ(*ParseNormaliser("constant"), Normaliser::kConstant);
  EXPECT_EQ(*ParseKlEstimator("k2"), KlEstimator::kK2);
  EXPECT_EQ(*ParseAdvantageKind("leave_one_out"), AdvantageKind::kLeaveOneOut);
  EXPECT_EQ(Message(ParseRatioLevel("word").status()),
            "ratio_level = \"word\"; expected one of \"token\", \"sequence\"");
}

TEST(Advantages, AgreeWithTheRecording) {
  const nlohmann::json golden = ReadGolden("losses.json");
  ASSERT_GE(golden["advantages"].size(), 7u);
  for (const auto& vector : golden["advantages"]) {
    const auto rewards = vector["rewards"].get<std::vector<double>>();
    const std::string name = vector["name"];
    const std::pair<const char*, AdvantageSpec> kinds[] = {
        {"grpo", {AdvantageKind::kMeanStd, 1e-4}},
        {"intellect2", {AdvantageKind::kMeanStd, 1e-6}},
        {"dr_grpo", {AdvantageKind::kMean, 0}},
        {"leave_one_out", {AdvantageKind::kLeaveOneOut, 0}}};
    for (const auto& [key, spec] : kinds) {
      ExpectNear(*ComputeAdvantages(spec, rewards), vector[key].get<std::vector<double>>(), 1e-9,
                 name + " " + key);
    }
  }
}

TEST(Advantages, EqualRewardsAreExactlyZero) {
  const std::vector<double> tenths(3, 0.1);
  for (auto kind : {AdvantageKind::kMeanStd, AdvantageKind::kMean, AdvantageKind::kLeaveOneOut}) {
    EXPECT_EQ(*ComputeAdvantages({kind, 1e-6}, tenths), std::vector<double>(3, 0.0));
  }
  EXPECT_TRUE(ComputeAdvantages({}, {})->empty());
}

TEST(Advantages, RefuseRewardsThatAreNotNumbers) {
  const std::vector<double> bad = {0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_NE(Message(ComputeAdvantages({}, bad).status()).find("reward 1"), std::string::npos);
}

}  // namespace
}  // namespace volery::training
