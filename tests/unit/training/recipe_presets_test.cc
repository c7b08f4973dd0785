// The recipe's presets (config/, without LibTorch) and the trainer's are two tables of the same rows: they must agree.

#include <gtest/gtest.h>

#include "core/config/presets.h"
#include "core/training/algorithm.h"

namespace volery::training {
namespace {

TEST(RecipePresets, AgreeWithTheTrainersTable) {
  ASSERT_EQ(config::Presets().size(), PresetNames().size());
  for (const config::AlgorithmRecipe& row : config::Presets()) {
    SCOPED_TRACE(row.preset);
    const StatusOr<AlgorithmOptions> options = PresetAlgorithm(row.preset);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->advantage.kind, ParseAdvantageKind(row.advantage).value());
    EXPECT_EQ(options->advantage.epsilon, row.advantage_epsilon);
    const LossSpec& loss = options->loss;
    EXPECT_EQ(loss.denominator, ParseDenominator(row.denominator).value());
    EXPECT_EQ(loss.ratio_level, ParseRatioLevel(row.ratio_level).value());
    EXPECT_EQ(loss.normaliser, ParseNormaliser(row.normaliser).value());
    EXPECT_EQ(loss.kl_estimator, ParseKlEstimator(row.kl_estimator).value());
    EXPECT_EQ(loss.kl, row.kl);
    EXPECT_EQ(loss.entropy, row.entropy);
    EXPECT_EQ(loss.clip_low, row.clip_low);
    EXPECT_EQ(loss.clip_high, row.clip_high);
    EXPECT_EQ(loss.delta, row.delta);
    EXPECT_EQ(loss.quadratic, row.quadratic);
    EXPECT_EQ(options->optimiser_steps, row.optimiser_steps);
    EXPECT_EQ(options->max_refill, row.max_refill);
  }
}

}  // namespace
}  // namespace volery::training
