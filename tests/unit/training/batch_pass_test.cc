#include "core/training/batch_pass.h"

#include <gtest/gtest.h>

#include <numeric>

#include "core/training/sequence_codec.h"
#include "tiny_model.h"

namespace volery::training {
namespace {

struct PassResult {
  at::Tensor gradients;
  LossSums sums;
  std::vector<double> observed;
};

// One optimiser step's gradient in float64 under the given options.
class BatchPassTest : public ::testing::Test {
 protected:
  BatchPassTest() {
    data::TrainBatch batch = RandomBatch(7, 0, 3, 4, 0);
    for (data::Group& group : batch.groups) {
      std::vector<double> rewards;
      for (const auto& rollout : group.rollouts) rewards.push_back(rollout.score.total);
      group.advantages = *ComputeAdvantages({}, rewards);
    }
    batch.groups[1].rollouts[2].temperature = 0.7f;
    sequences_ = *data::MakeTrainSequences(batch);
    all_.resize(sequences_.size());
    std::iota(all_.begin(), all_.end(), 0);
    store_ =
        *ParameterStore::Create(model_.parameters(), model_.Initial(1, at::kDouble), at::kDouble, at::kCPU);
    model_.Bind(store_->bound());
  }

  LossBatch Batch(const LossSpec& spec) {
    LossBatch batch{sequences_, spec, {}, &denominators_, spec.kl > 0 ? &references_ : nullptr};
    denominators_.clear();
    references_.clear();
    for (const auto& sequence : sequences_) {
      batch.counts.tokens += sequence.LossTokens();
      ++batch.counts.sequences;
      std::vector<double> o;
      for (size_t i = 0; i < sequence.tokens.size(); ++i) {
        if (sequence.loss_mask[i]) o.push_back(sequence.behaviour[i]);
      }
      denominators_.push_back(o);
      for (double& value : o) value -= 0.2;
      references_.push_back(o);
    }
    return batch;
  }

  PassResult Run(const LossSpec& spec, const BatchPass::Options& options, std::vector<int32_t> order) {
    PassResult result;
    const LossBatch batch = Batch(spec);
    store_->ZeroGradients();
    BatchPass(model_, *store_, options)
        .Accumulate(batch, order, result.sums,
                    [&](const auto&, size_t, double l) { result.observed.push_back(l); });
    result.gradients = store_->gradients().clone();
    return result;
  }
  PassResult Run(const LossSpec& spec, const BatchPass::Options& options) { return Run(spec, options, all_); }

  static BatchPass::Options Options(int64_t max_tokens, bool share, bool checkpoint, int64_t slice) {
    return {{max_tokens, share}, {TinyModel::kVocabulary, slice}, checkpoint};
  }

  TinyModel model_;
  std::unique_ptr<ParameterStore> store_;
  std::vector<data::TrainSequence> sequences_;
  std::vector<int32_t> all_;
  TokenValues denominators_, references_;
};

LossSpec Everything(RatioLevel level) {
  LossSpec spec;
  spec.ratio_level = level;
  spec.kl = 0.03;
  spec.entropy = 0.02;
  spec.quadratic = 0.01;
  spec.cross_entropy = 0.1;
  return spec;
}

TEST_F(BatchPassTest, PackingSlicesCheckpointsAndOrderDontMatter) {
  for (auto level : {RatioLevel::kToken, RatioLevel::kSequence}) {
    for (auto normaliser : {Normaliser::kTokens, Normaliser::kSequences, Normaliser::kConstant}) {
      LossSpec spec = Everything(level);
      spec.normaliser = normaliser;
      spec.constant = 8;
      const PassResult whole = Run(spec, Options(10'000, true, false, 0));
      ASSERT_GT(whole.gradients.abs().max().item<double>(), 1e-3);
      std::vector<int32_t> reversed(all_.rbegin(), all_.rend());
      const PassResult variants[] = {
          Run(spec, Options(1, true, false, 0)), Run(spec, Options(13, true, false, 1)),
          Run(spec, Options(10'000, false, false, 3)), Run(spec, Options(20, true, true, 2)),
          Run(spec, Options(13, true, false, 0), reversed)};
      for (const PassResult& variant : variants) {
        EXPECT_NEAR(variant.sums.loss, whole.sums.loss, 1e-12);
        EXPECT_NEAR(variant.sums.entropy, whole.sums.entropy, 1e-10);
        EXPECT_EQ(variant.sums.tokens, whole.sums.tokens);
        EXPECT_LT((variant.gradients - whole.gradients).abs().max().item<double>(), 1e-12);
      }
    }
  }
}

TEST_F(BatchPassTest, GradientsAgreeWithFiniteDifferences) {
  for (auto level : {RatioLevel::kToken, RatioLevel::kSequence}) {
    LossSpec spec = Everything(level);
    spec.clip_low = spec.clip_high = 0.9;  // few kinks, so that differences are smooth
    const auto options = Options(25, true, false, 3);
    const at::Tensor gradients = Run(spec, options).gradients;
    constexpr double kStep = 1e-6;
    for (int64_t i = 0; i < gradients.numel(); i += 7) {
      const at::Tensor element = store_->masters()[i];
      const double kept = element.item<double>();
      element.fill_(kept + kStep);
      const double high = Run(spec, options).sums.loss;
      element.fill_(kept - kStep);
      const double low = Run(spec, options).sums.loss;
      element.fill_(kept);
      EXPECT_NEAR(gradients[i].item<double>(), (high - low) / (2 * kStep), 1e-6) << i;
    }
  }
}

TEST_F(BatchPassTest, KlAndEntropyHaveARealGradient) {
  LossSpec spec;
  spec.policy_weight = 0;
  spec.kl = 1;
  EXPECT_GT(Run(spec, Options(100, true, false, 0)).gradients.abs().max().item<double>(), 1e-3);
  spec.kl = 0;
  spec.entropy = 1;
  EXPECT_GT(Run(spec, Options(100, true, false, 0)).gradients.abs().max().item<double>(), 1e-3);
}

TEST_F(BatchPassTest, EvaluateGivesTheLogprobsThatTheLossSees) {
  TokenValues values(sequences_.size());
  BatchPass(model_, *store_, Options(17, true, false, 2))
      .Evaluate(sequences_, all_, values, [](const auto&, size_t, double) {});
  std::vector<double> flat;
  for (const auto& row : values) flat.insert(flat.end(), row.begin(), row.end());
  // By sequence ratio the loss sees tokens in the order of sequences.
  LossSpec spec;
  spec.ratio_level = RatioLevel::kSequence;
  const auto observed = Run(spec, Options(10'000, false, false, 0)).observed;
  ASSERT_EQ(flat.size(), observed.size());
  for (size_t i = 0; i < flat.size(); ++i) EXPECT_NEAR(flat[i], observed[i], 1e-12);
}

TEST_F(BatchPassTest, CheckpointingComputesEveryBlockTwice) {
  model_.block_calls = 0;
  Run(LossSpec(), Options(10'000, true, false, 0));
  EXPECT_EQ(model_.block_calls, TinyModel::kBlocks);
  model_.block_calls = 0;
  Run(LossSpec(), Options(10'000, true, true, 0));
  EXPECT_EQ(model_.block_calls, 2 * TinyModel::kBlocks);
}

TEST_F(BatchPassTest, SequencesSurviveTheTripToAnotherRank) {
  const std::string bytes = EncodeSequences(sequences_);
  const auto decoded = DecodeSequences(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(EncodeSequences(*decoded), bytes);
  EXPECT_EQ((*decoded)[5].tokens, sequences_[5].tokens);
  EXPECT_EQ((*decoded)[5].advantage, sequences_[5].advantage);
  EXPECT_FALSE(DecodeSequences(bytes.substr(0, bytes.size() - 1)).ok());
  EXPECT_FALSE(DecodeSequences(bytes + "x").ok());
  EXPECT_FALSE(DecodeSequences("").ok());
}

}  // namespace
}  // namespace volery::training
