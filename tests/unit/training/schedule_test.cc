#include "core/training/schedule.h"

#include <gtest/gtest.h>

#include <map>

#include "golden.h"

namespace volery::training {
namespace {

TEST(Schedule, WarmsUpThenStays) {
  const Schedule schedule{1e-3, 4, Decay::kConstant, 0, 0};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 0), 0.25e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 3), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 1'000'000), 1e-3);
}

TEST(Schedule, Decays) {
  const Schedule linear{1, 10, Decay::kLinear, 110, 0.1}, cosine{1, 10, Decay::kCosine, 110, 0.1};
  EXPECT_DOUBLE_EQ(LearningRate(linear, 10), 1);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 60), 0.55);
  EXPECT_DOUBLE_EQ(LearningRate(linear, 500), 0.1);
  EXPECT_NEAR(LearningRate(cosine, 60), 0.55, 1e-12);
  EXPECT_NEAR(LearningRate(cosine, 110), 0.1, 1e-12);
  EXPECT_GT(LearningRate(cosine, 35), LearningRate(linear, 35));
}

TEST(Schedule, FollowsTheTrainingCodeOfRwkvAndGoldFinch) {
  const nlohmann::json golden = ReadGolden("schedules.json");
  ASSERT_EQ(golden["runs"].size(), 17u);
  const std::map<std::pair<std::string, std::string>, Decay> decays = {
      {{"RWKV-LM", "constant"}, Decay::kConstant},
      {{"RWKV-LM", "cosine"}, Decay::kCosine},
      {{"GoldFinch-paper", "linear"}, Decay::kLinear},
      {{"GoldFinch-paper", "exp"}, Decay::kExponential},
      {{"GoldFinch-paper", "cos"}, Decay::kQuarterCosine},
      {{"GoldFinch-paper", "oneminussqrt"}, Decay::kOneMinusSqrt}};
  for (const auto& run : golden["runs"]) {
    const std::string code = run["code"], kind = run["schedule"];
    const double wait = run["wait"], rate = run["rate"], final = run["final"];
    const int64_t steps = run["steps"];
    Schedule schedule{rate, run["warmup"], decays.at({code, kind}), steps, final / rate};
    schedule.warmup_start = code == "RWKV-LM" ? 0.01 : 0.2;
    schedule.hold_steps = static_cast<int64_t>(wait * static_cast<double>(steps));
    schedule.final_weight_decay = std::max(0.0, run["final_decay"].get<double>());
    ASSERT_TRUE(CheckSchedule(schedule).ok());
    for (size_t step = 0; step < run["lr"].size(); ++step) {
      const auto at = static_cast<int64_t>(step);
      EXPECT_NEAR(LearningRate(schedule, at), run["lr"][step].get<double>(), 1e-15)
          << code << " " << kind << " " << step;
      EXPECT_NEAR(WeightDecay(schedule, run["decay"], at), run["weight_decay"][step].get<double>(), 1e-15)
          << code << " " << kind << " " << step;
    }
  }
}

TEST(Schedule, RefusesNonsense) {
  EXPECT_FALSE(CheckSchedule({-1, 0, Decay::kConstant, 0, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, -1, Decay::kConstant, 0, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, 10, Decay::kCosine, 10, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, 0, Decay::kConstant, 0, 2}).ok());
  EXPECT_FALSE(CheckSchedule({1, 0, Decay::kExponential, 10, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, 5, Decay::kCosine, 10, 0, 0, 5}).ok());
  EXPECT_FALSE(CheckSchedule({1, 5, Decay::kCosine, 10, 0, 1.5}).ok());
  EXPECT_TRUE(CheckSchedule({1, 10, Decay::kCosine, 11, 0}).ok());
  EXPECT_EQ(*ParseDecay("linear"), Decay::kLinear);
  EXPECT_FALSE(ParseDecay("steep").ok());
}

}  // namespace
}  // namespace volery::training
