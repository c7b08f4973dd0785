#include "core/training/schedule.h"

#include <gtest/gtest.h>

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

TEST(Schedule, RefusesNonsense) {
  EXPECT_FALSE(CheckSchedule({-1, 0, Decay::kConstant, 0, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, -1, Decay::kConstant, 0, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, 10, Decay::kCosine, 10, 0}).ok());
  EXPECT_FALSE(CheckSchedule({1, 0, Decay::kConstant, 0, 2}).ok());
  EXPECT_TRUE(CheckSchedule({1, 10, Decay::kCosine, 11, 0}).ok());
  EXPECT_EQ(*ParseDecay("linear"), Decay::kLinear);
  EXPECT_FALSE(ParseDecay("steep").ok());
}

}  // namespace
}  // namespace volery::training
