#include "core/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/base/files.h"
#include "core/distributed/single_comm.h"
#include "core/policy/version.h"
#include "tiny_model.h"

namespace volery::training {
namespace {

TrainerOptions FastOptions(at::ScalarType dtype) {
  TrainerOptions options;
  options.optim.schedule.learning_rate = 1e-2;
  options.supervised.schedule.learning_rate = 1e-2;
  options.micro_batch_tokens = 40;
  options.dtype = dtype;
  return options;
}

struct Rig {
  explicit Rig(const std::string& preset = "grpo", at::ScalarType dtype = at::kFloat)
      : options(FastOptions(dtype)), algorithm(*PresetAlgorithm(preset)) {}
  std::unique_ptr<LocalTrainer> Make() {
    auto trainer = LocalTrainer::Create(
        {model, model->Initial(5, at::kDouble), options, algorithm, &comm, TinyModel::kVocabulary});
    EXPECT_TRUE(trainer.ok()) << Message(trainer.status());
    return *std::move(trainer);
  }
  std::shared_ptr<TinyModel> model = std::make_shared<TinyModel>();
  distributed::SingleComm comm;
  TrainerOptions options;
  AlgorithmOptions algorithm;
};

data::TrainBatch BatchFor(const LocalTrainer& trainer, int64_t step, uint64_t seed = 21) {
  data::TrainBatch batch = RandomBatch(seed, step, 4, 4, trainer.version().value);
  for (data::Group& group : batch.groups) EXPECT_TRUE(trainer.Advantages(group).ok());
  return batch;
}

data::StepResult MustStep(LocalTrainer& trainer, const data::TrainBatch& batch) {
  auto result = trainer.Step(batch);
  EXPECT_TRUE(result.ok()) << Message(result.status());
  return *std::move(result);
}

bool SameWeights(const native::NamedTensors& a, const native::NamedTensors& b) {
  for (const auto& [name, tensor] : a) {
    if (!at::equal(tensor, b.at(name))) return false;
  }
  return a.size() == b.size();
}

TEST(Trainer, AStepMovesWeightsAndReports) {
  Rig rig;
  auto trainer = rig.Make();
  const auto before = trainer->CopyWeights();
  const auto result = MustStep(*trainer, BatchFor(*trainer, 0));
  EXPECT_EQ(result.outcome, data::StepOutcome::kTrained);
  EXPECT_EQ(trainer->version(), VersionId(1));
  EXPECT_FALSE(SameWeights(before, trainer->CopyWeights()));
  for (const char* name :
       {"loss", "grad_norm", "lr", "entropy", "mismatch/max", "mismatch/mean", "mismatch/k3", "ess",
        "clip_frac_low", "clip_frac_high", "tokens", "advantage/abs_mean", "advantage/abs_max"}) {
    ASSERT_TRUE(result.metrics.count(name)) << name;
    EXPECT_TRUE(std::isfinite(result.metrics.at(name))) << name;
  }
  EXPECT_EQ(result.metrics.count("drift_kl"), 0u);
}

TEST(Trainer, MismatchIsMeasuredAgainstRecordedLogprobs) {
  Rig rig("grpo", at::kDouble);
  auto trainer = rig.Make();
  data::TrainBatch batch = BatchFor(*trainer, 0);
  // Record what the model computes, then shift one token.
  TinyModel model;
  const auto store =
      *ParameterStore::Create(model.parameters(), model.Initial(5, at::kDouble), at::kDouble, at::kCPU);
  model.Bind(store->bound());
  const BatchPass pass(model, *store, {{1000, true}, {TinyModel::kVocabulary, 0}, false});
  const auto sequences = *data::MakeTrainSequences(batch);
  std::vector<int32_t> all;
  for (size_t i = 0; i < sequences.size(); ++i) all.push_back(static_cast<int32_t>(i));
  TokenValues values(sequences.size());
  pass.Evaluate(sequences, all, values, [](const auto&, size_t, double) {});
  size_t i = 0;
  for (data::Group& group : batch.groups) {
    for (data::Rollout& rollout : group.rollouts) {
      for (size_t t = 0; t < values[i].size(); ++t)
        rollout.spans[1].logprobs[t] = static_cast<float>(values[i][t]);
      ++i;
    }
  }
  const auto clean = MustStep(*trainer, batch);
  EXPECT_LT(clean.metrics.at("mismatch/max"), 1e-6);
  EXPECT_NEAR(clean.metrics.at("ess"), 1, 1e-9);
  batch.groups[0].rollouts[0].spans[1].logprobs[0] -= 0.25f;
  const auto result = MustStep(*rig.Make(), batch);
  EXPECT_NEAR(result.metrics.at("mismatch/max"), 0.25, 1e-5);
  EXPECT_NEAR(result.metrics.at("mismatch/mean"), 0.25 / result.metrics.at("tokens"), 1e-5);
  EXPECT_NEAR(result.metrics.at("mismatch/k3"), (std::expm1(0.25) - 0.25) / result.metrics.at("tokens"),
              1e-6);
}

TEST(Trainer, OlderVersionsAreDrift) {
  Rig rig;
  auto trainer = rig.Make();
  MustStep(*trainer, BatchFor(*trainer, 0));
  MustStep(*trainer, BatchFor(*trainer, 1));
  data::TrainBatch batch = RandomBatch(21, 2, 2, 4, 2);
  // Current weights over an old state are drift too.
  for (auto& rollout : batch.groups[0].rollouts)
    rollout.spans[1].versions = {{0, VersionId(2), VersionId(0)}};
  for (data::Group& group : batch.groups) ASSERT_TRUE(trainer->Advantages(group).ok());
  const auto result = MustStep(*trainer, batch);
  EXPECT_TRUE(result.metrics.count("drift_kl"));
}

TEST(Trainer, NoSignalSkipsButCounts) {
  Rig rig;
  rig.options.optim.schedule.warmup_steps = 10;
  auto trainer = rig.Make();
  data::TrainBatch batch = BatchFor(*trainer, 0);
  for (data::Group& group : batch.groups) {
    for (auto& rollout : group.rollouts) rollout.score.total = 0.1;
    ASSERT_TRUE(trainer->Advantages(group).ok());
    EXPECT_FALSE(trainer->HasSignal(group));
  }
  const auto before = trainer->CopyWeights();
  const auto result = MustStep(*trainer, batch);
  EXPECT_EQ(result.outcome, data::StepOutcome::kSkippedNoSignal);
  EXPECT_FALSE(result.reason.empty());
  EXPECT_EQ(trainer->version(), VersionId(1));
  EXPECT_TRUE(SameWeights(before, trainer->CopyWeights()));
  EXPECT_EQ(trainer->counters().adam_steps, 0);
  // The schedule went on: the next step is the second of the warm-up.
  EXPECT_NEAR(MustStep(*trainer, BatchFor(*trainer, 1)).metrics.at("lr"), 2e-3, 1e-12);
  EXPECT_EQ(MustStep(*trainer, data::TrainBatch{StepId(2), {}}).outcome, data::StepOutcome::kSkippedNoSignal);
}

TEST(Trainer, NotFiniteSkipsAndLeavesEverythingAlone) {
  Rig rig;
  auto trainer = rig.Make();
  MustStep(*trainer, BatchFor(*trainer, 0));
  const auto before = trainer->CopyWeights();
  rig.model->poison = true;
  const auto result = MustStep(*trainer, BatchFor(*trainer, 1));
  rig.model->poison = false;
  EXPECT_EQ(result.outcome, data::StepOutcome::kSkippedNotFinite);
  EXPECT_NE(result.reason.find("not finite"), std::string::npos);
  EXPECT_EQ(trainer->version(), VersionId(2));
  EXPECT_EQ(trainer->counters().adam_steps, 1);
  EXPECT_TRUE(SameWeights(before, trainer->CopyWeights()));
  EXPECT_EQ(MustStep(*trainer, BatchFor(*trainer, 2)).outcome, data::StepOutcome::kTrained);
}

TEST(Trainer, APluginThatThrowsIsAnError) {
  Rig rig;
  auto trainer = rig.Make();
  rig.model->fail_logits = true;
  const auto result = trainer->Step(BatchFor(*trainer, 0));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(Message(result.status()), "training step 0: forward and backward: the plugin gave up");
}

TEST(Trainer, SeveralOptimiserStepsAreOneVersion) {
  Rig rig("intellect2-paper");
  rig.algorithm.optimiser_steps = 4;
  auto trainer = rig.Make();
  const auto result = MustStep(*trainer, BatchFor(*trainer, 0));
  EXPECT_EQ(trainer->version(), VersionId(1));
  EXPECT_EQ(trainer->counters().adam_steps, 4);
  EXPECT_EQ(trainer->counters().optimiser_steps, 4);
  EXPECT_TRUE(result.metrics.count("kl"));
  EXPECT_TRUE(result.metrics.count("mismatch/max"));
}

TEST(Trainer, ProximalRatiosStartAtOneWhateverTheSamplerRecorded) {
  Rig rig("intellect2-code");
  rig.algorithm.optimiser_steps = 1;
  auto trainer = rig.Make();
  const auto result = MustStep(*trainer, BatchFor(*trainer, 0));
  EXPECT_NEAR(result.metrics.at("ess"), 1, 1e-6);
  EXPECT_EQ(result.metrics.at("clip_frac_low") + result.metrics.at("clip_frac_high"), 0);
  EXPECT_GT(result.metrics.at("mismatch/max"), 1e-2);
}

TEST(Trainer, MissingLogprobsAreRecomputed) {
  Rig rig;
  auto trainer = rig.Make();
  data::TrainBatch batch = BatchFor(*trainer, 0);
  for (data::Group& group : batch.groups) {
    for (auto& rollout : group.rollouts) rollout.spans[1].logprobs.clear();
  }
  const auto result = MustStep(*trainer, batch);
  EXPECT_EQ(result.outcome, data::StepOutcome::kTrained);
  EXPECT_NEAR(result.metrics.at("ess"), 1, 1e-6);
  EXPECT_EQ(result.metrics.count("mismatch/max"), 0u);
}

TEST(Trainer, KlPullsTowardsTheFirstWeights) {
  auto distance_after = [](double kl) {
    Rig rig;
    rig.algorithm.loss.kl = kl;
    auto trainer = rig.Make();
    const auto first = trainer->CopyWeights();
    double last_kl = 0;
    for (int64_t step = 0; step < 30; ++step) {
      const auto result = MustStep(*trainer, BatchFor(*trainer, step, 77));
      if (kl == 0) continue;
      last_kl = result.metrics.at("kl");
      EXPECT_TRUE(step > 0 || std::abs(last_kl) < 1e-9) << last_kl;
    }
    EXPECT_EQ(last_kl > 0, kl > 0);
    double sum = 0;
    for (const auto& [name, tensor] : trainer->CopyWeights())
      sum += (tensor - first.at(name)).pow(2).sum().item<double>();
    return sum;
  };
  EXPECT_LT(distance_after(20), 0.5 * distance_after(0));
}

TEST(Trainer, ASnapshotNamesTheWeightsAsTheyAre) {
  Rig rig("grpo", at::kDouble);
  auto trainer = rig.Make();
  const auto snapshot = *trainer->Snapshot();
  EXPECT_EQ(snapshot->id(), VersionId(0));
  const auto tensors = *policy::NamedTensorsOf(*snapshot);
  EXPECT_EQ(tensors.at("head").scalar_type(), at::kFloat);
  MustStep(*trainer, BatchFor(*trainer, 0));
  const auto after = *trainer->Snapshot();
  EXPECT_EQ(after->id(), VersionId(1));
  const at::Tensor head = (*policy::NamedTensorsOf(*after)).at("head");
  EXPECT_FALSE(at::equal(tensors.at("head"), head));
  EXPECT_TRUE(at::equal(trainer->CopyWeights().at("head").to(at::kFloat), head));
}

TEST(Trainer, LearnsToPreferTheRewardedToken) {
  // A bandit: one prompt, one sampled token, reward 1 for id 3. Tokens are drawn from the trainer's own
  // distribution.
  Rig rig;
  rig.options.optim.schedule.learning_rate = 3e-2;
  auto trainer = rig.Make();
  base::RandomStream stream(1, base::RandomUse::kGenerator);
  double first = -1, last = 0;
  for (int64_t step = 0; step < 40; ++step) {
    const auto weights = trainer->CopyWeights();
    TinyModel sampler;
    sampler.Bind(weights);
    native::Batch one{at::full({1}, 2, at::kLong), at::zeros({1}, at::kLong), {{0, 1, -1}}};
    auto context = sampler.Begin(one);
    at::Tensor x = sampler.Embed(one, *context);
    for (int64_t b = 0; b < sampler.blocks(); ++b) x = sampler.Block(b, x, *context);
    const at::Tensor logprobs = at::log_softmax(sampler.Logits(sampler.Final(x)), 1)[0];
    data::Group group;
    for (int32_t s = 0; s < 32; ++s) {
      data::Rollout rollout = RandomRollout(stream, {2}, 1, step);
      double u = stream.NextUnit();
      int32_t token = 0;
      while (token + 1 < TinyModel::kVocabulary && (u -= std::exp(logprobs[token].item<double>())) > 0)
        ++token;
      rollout.spans[1].tokens = {token};
      rollout.spans[1].logprobs = {logprobs[token].item<float>()};
      rollout.score.total = token == 3;
      group.rollouts.push_back(rollout);
    }
    ASSERT_TRUE(trainer->Advantages(group).ok());
    last = std::exp(logprobs[3].item<double>());
    if (first < 0) first = last;
    MustStep(*trainer, {StepId(step), {group}});
  }
  EXPECT_LT(first, 0.4);
  EXPECT_GT(last, 0.9);
}

TEST(Trainer, SupervisedStepsLowerTheLossAndRlStartsWithFreshMoments) {
  Rig rig;
  auto trainer = rig.Make();
  base::RandomStream stream(2, base::RandomUse::kGenerator);
  std::vector<data::Rollout> examples;
  for (int i = 0; i < 6; ++i) examples.push_back(RandomRollout(stream, {1, static_cast<int32_t>(i)}, 4, 0));
  const double first = *trainer->SupervisedStep(examples);
  double last = first;
  for (int i = 0; i < 60; ++i) last = *trainer->SupervisedStep(examples);
  EXPECT_NEAR(first, std::log(11.0), 1.0);
  EXPECT_LT(last, 0.6 * first);
  EXPECT_EQ(trainer->version(), VersionId(0));
  EXPECT_EQ(trainer->counters().adam_steps, 61);
  MustStep(*trainer, BatchFor(*trainer, 0));
  EXPECT_EQ(trainer->counters().adam_steps, 1);
  EXPECT_FALSE(trainer->SupervisedStep({}).ok());
}

TEST(Trainer, ResumeIsBitIdentical) {
  for (const char* preset : {"grpo", "intellect2-paper"}) {
    Rig rig(preset);
    auto straight = rig.Make();
    for (int64_t step = 0; step < 6; ++step) MustStep(*straight, BatchFor(*straight, step));

    base::TemporaryFolder folder;
    Rig first_rig(preset), second_rig(preset);
    auto first = first_rig.Make();
    for (int64_t step = 0; step < 3; ++step) MustStep(*first, BatchFor(*first, step));
    ASSERT_TRUE(first->SaveState(folder.File("state")).ok());
    auto second = second_rig.Make();
    const Status loaded = second->LoadState(folder.File("state"));
    ASSERT_TRUE(loaded.ok()) << Message(loaded);
    EXPECT_EQ(second->version(), VersionId(3));
    for (int64_t step = 3; step < 6; ++step) MustStep(*second, BatchFor(*second, step));
    EXPECT_TRUE(SameWeights(straight->CopyWeights(), second->CopyWeights())) << preset;
    EXPECT_EQ(straight->counters().adam_steps, second->counters().adam_steps);
  }
}

TEST(Trainer, ADamagedOrForeignStateIsRefusedAndNothingChanges) {
  base::TemporaryFolder folder;
  Rig rig, wider("intellect2-paper"), doubles("grpo", at::kDouble);
  auto trainer = rig.Make();
  MustStep(*trainer, BatchFor(*trainer, 0));
  ASSERT_TRUE(trainer->SaveState(folder.path()).ok());
  const auto before = trainer->CopyWeights();
  EXPECT_NE(Message(wider.Make()->LoadState(folder.path())).find("reference/"), std::string::npos);
  EXPECT_NE(Message(doubles.Make()->LoadState(folder.path())).find("F32"), std::string::npos);
  EXPECT_FALSE(trainer->LoadState(folder.File("absent")).ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("trainer.json"), "{\"format\": 1}").ok());
  EXPECT_NE(Message(trainer->LoadState(folder.path())).find("trainer.json"), std::string::npos);
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("trainer.json"), CountersToJson({})).ok());
  ASSERT_TRUE(base::TruncateFile(folder.File("trainer.safetensors"), 1000).ok());
  EXPECT_FALSE(trainer->LoadState(folder.path()).ok());
  EXPECT_EQ(trainer->version(), VersionId(1));
  EXPECT_TRUE(SameWeights(before, trainer->CopyWeights()));
}

TEST(Trainer, Bfloat16ComputesWithFloat32Masters) {
  Rig rig("intellect2-paper", at::kBFloat16);
  rig.options.optim.schedule.learning_rate =
      1e-5;  // far below bfloat16's resolution: only masters can hold it
  auto trainer = rig.Make();
  const auto before = trainer->CopyWeights();
  EXPECT_EQ(before.at("head").scalar_type(), at::kFloat);
  for (int64_t step = 0; step < 3; ++step) {
    const auto result = MustStep(*trainer, BatchFor(*trainer, step));
    EXPECT_EQ(result.outcome, data::StepOutcome::kTrained);
    EXPECT_TRUE(std::isfinite(result.metrics.at("grad_norm")));
  }
  EXPECT_FALSE(SameWeights(before, trainer->CopyWeights()));
}

TEST(Trainer, RefusesWhatCannotTrain) {
  Rig rig;
  auto create = [&](int64_t vocabulary) {
    return LocalTrainer::Create({rig.model, rig.model->Initial(5, at::kFloat), rig.options, rig.algorithm,
                                 &rig.comm, vocabulary})
        .status();
  };
  EXPECT_NE(Message(create(12)).find("the tokenizer has 12 ids but the model predicts 11"),
            std::string::npos);
  rig.algorithm.loss.clip_low = 2;
  EXPECT_NE(Message(create(11)).find("clip_low"), std::string::npos);
  rig.algorithm.loss.clip_low = 0.2;
  auto trainer = *LocalTrainer::Create(
      {rig.model, rig.model->Initial(5, at::kFloat), rig.options, rig.algorithm, &rig.comm, 9});
  data::TrainBatch batch = BatchFor(*trainer, 0);
  batch.groups[0].rollouts[0].spans[1].tokens[0] = 10;
  EXPECT_NE(Message(trainer->Step(batch).status()).find("token id 10"), std::string::npos);
}

}  // namespace
}  // namespace volery::training
