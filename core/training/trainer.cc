#include "core/training/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/base/log.h"
#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::training {
namespace {

using data::TrainSequence;

BatchPass::Options PassOptions(const TrainerOptions& options, int64_t vocabulary) {
  BatchPass::Options out;
  out.packing = {options.micro_batch_tokens, options.share_prompts};
  out.head = {vocabulary, options.head_rows};
  out.checkpoint_activations = options.checkpoint_activations;
  return out;
}

Status CheckSetup(const TrainerSetup& setup) {
  VOLERY_CHECK(setup.model != nullptr && setup.comm != nullptr);
  VOLERY_RETURN_IF_ERROR(CheckAlgorithm(setup.algorithm));
  const TrainerOptions& options = setup.options;
  VOLERY_RETURN_IF_ERROR(Annotate(CheckSchedule(options.optim.schedule), "trainer.optim"));
  VOLERY_RETURN_IF_ERROR(Annotate(CheckSchedule(options.supervised.schedule), "warmup"));
  if (options.micro_batch_tokens < 1)
    return InvalidError("trainer.micro_batch_tokens = ", options.micro_batch_tokens, "; expected >= 1");
  const int64_t rows = setup.model->info().vocabulary;
  if (setup.vocabulary < 1 || setup.vocabulary > rows) {
    return InvalidError("the tokenizer has ", setup.vocabulary, " ids but the model predicts ", rows,
                        "; use the tokenizer the model was made for");
  }
  return OkStatus();
}

NormaliserCounts Count(std::span<const TrainSequence> sequences, std::span<const int32_t> indices) {
  NormaliserCounts counts;
  for (int32_t index : indices) {
    const int64_t tokens = sequences[static_cast<size_t>(index)].LossTokens();
    counts.tokens += tokens;
    counts.sequences += tokens > 0;
  }
  return counts;
}

std::vector<double> CountedBehaviour(const TrainSequence& sequence) {
  std::vector<double> out;
  for (size_t i = 0; i < sequence.tokens.size(); ++i) {
    if (sequence.loss_mask[i]) out.push_back(static_cast<double>(sequence.behaviour[i]));
  }
  return out;
}

// Why these sequences can't move the weights; empty when they can.
std::string NoSignalReason(const LossSpec& spec, std::span<const TrainSequence> sequences) {
  const bool any_token = std::any_of(sequences.begin(), sequences.end(),
                                     [](const TrainSequence& s) { return s.LossTokens() > 0; });
  if (!any_token) return "no group with signal is left to train on";
  const bool any_advantage = std::any_of(sequences.begin(), sequences.end(),
                                         [](const TrainSequence& s) { return s.advantage != 0; });
  if (any_advantage || spec.cross_entropy > 0) return "";
  return "within every group all rewards are equal";
}

std::vector<int32_t> AllOf(std::span<const TrainSequence> sequences) {
  std::vector<int32_t> out(sequences.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(i);
  return out;
}

void IgnoreToken(const TrainSequence&, size_t, double) {}

}  // namespace

// Means over the optimiser steps of one batch.
struct LocalTrainer::StepTotals {
  LossSums sums;
  double loss = 0, grad_norm = 0;
  int applied = 0, skipped = 0;

  void Add(const OptimiserOutcome& outcome) {
    if (!outcome.applied) {
      ++skipped;
      return;
    }
    ++applied;
    sums.Add(outcome.sums);
    loss += outcome.sums.loss;
    grad_norm += outcome.grad_norm;
  }

  void Report(bool with_kl, base::MetricRow& row) const {
    if (skipped > 0) row["optimiser_skipped"] = skipped;
    if (applied == 0) return;
    row["loss"] = loss / applied;
    row["grad_norm"] = grad_norm / applied;
    row["entropy"] = sums.entropy / sums.tokens;
    row["ess"] = sums.EffectiveSampleSize();
    row["clip_frac_low"] = sums.clipped_low / sums.tokens;
    row["clip_frac_high"] = sums.clipped_high / sums.tokens;
    row["clip_frac_delta"] = sums.clipped_delta / sums.tokens;
    if (with_kl) row["kl"] = sums.kl / sums.tokens;
  }
};

LocalTrainer::LocalTrainer(TrainerSetup setup, std::unique_ptr<ParameterStore> store)
    : model_(std::move(setup.model)),
      options_(setup.options),
      algorithm_(std::move(setup.algorithm)),
      comm_(*setup.comm),
      vocabulary_(setup.vocabulary),
      store_(std::move(store)),
      adam_(*store_),
      pass_(*model_, *store_, PassOptions(options_, vocabulary_)) {
  if (algorithm_.loss.kl > 0) reference_ = store_->masters().clone();
  model_->Bind(store_->bound());
}

StatusOr<std::unique_ptr<LocalTrainer>> LocalTrainer::Create(TrainerSetup setup) {
  VOLERY_RETURN_IF_ERROR(CheckSetup(setup));
  VOLERY_ASSIGN_OR_RETURN(auto store, ParameterStore::Create(setup.model->parameters(), setup.initial,
                                                             setup.options.dtype, setup.options.device));
  setup.initial.clear();
  return tensor::Guard("making the trainer", [&]() -> StatusOr<std::unique_ptr<LocalTrainer>> {
    std::unique_ptr<LocalTrainer> trainer(new LocalTrainer(std::move(setup), std::move(store)));
    VOLERY_RETURN_IF_ERROR(trainer->SyncFromRankZero());
    return trainer;
  });
}

LocalTrainer::~LocalTrainer() {
  if (const Status status = StopFollowers(); !status.ok())
    base::LogWarning("stopping the other ranks: ", Message(status));
}

Status LocalTrainer::Advantages(data::Group& group) const {
  std::vector<double> rewards;
  for (const data::Rollout& rollout : group.rollouts) rewards.push_back(rollout.score.total);
  auto advantages = ComputeAdvantages(algorithm_.advantage, rewards);
  if (!advantages.ok()) {
    return Annotate(advantages.status(), "step ", group.id.step(), ", group ", group.id.index(),
                    group.task ? Cat(", task ", group.task->id) : "");
  }
  group.advantages = *std::move(advantages);
  return OkStatus();
}

bool LocalTrainer::HasSignal(const data::Group& group) const {
  return std::any_of(group.advantages.begin(), group.advantages.end(), [](double a) { return a != 0; });
}

Status LocalTrainer::CheckTokens(std::span<const TrainSequence> sequences) const {
  const int64_t rows = model_->info().vocabulary;
  for (const TrainSequence& sequence : sequences) {
    for (size_t i = 0; i < sequence.tokens.size(); ++i) {
      const int32_t token = sequence.tokens[i];
      const int64_t limit = sequence.loss_mask[i] ? vocabulary_ : rows;
      if (token < 0 || token >= limit)
        return InvalidError("token id ", token, " at position ", i, " of a rollout; ids here must be below ",
                            limit);
    }
  }
  return OkStatus();
}

StatusOr<data::StepResult> LocalTrainer::Step(const data::TrainBatch& batch) {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<TrainSequence> sequences, data::MakeTrainSequences(batch));
  VOLERY_RETURN_IF_ERROR(Annotate(CheckTokens(sequences), "step ", batch.step));
  VOLERY_RETURN_IF_ERROR(SendToFollowers("step", sequences));
  auto result = RunStep(sequences);
  if (!result.ok()) return Annotate(result.status(), "training step ", batch.step);
  return result;
}

StatusOr<double> LocalTrainer::SupervisedStep(const std::vector<data::Rollout>& examples) {
  std::vector<TrainSequence> sequences;
  for (size_t i = 0; i < examples.size(); ++i) {
    auto sequence = data::MakeTrainSequence(examples[i], static_cast<int64_t>(i), 0);
    if (!sequence.ok()) return Annotate(sequence.status(), "example ", i);
    sequence->temperature = 1;
    sequences.push_back(std::move(sequence).value());
  }
  VOLERY_RETURN_IF_ERROR(CheckTokens(sequences));
  VOLERY_RETURN_IF_ERROR(SendToFollowers("supervised", sequences));
  return RunSupervised(sequences);
}

StatusOr<data::StepResult> LocalTrainer::RunStep(const std::vector<TrainSequence>& sequences) {
  data::StepResult result;
  DescribeBatch(sequences, result.metrics);
  result.metrics["lr"] = LearningRate(options_.optim.schedule, counters_.optimiser_steps);
  result.reason = NoSignalReason(algorithm_.loss, sequences);
  if (!result.reason.empty()) {
    result.outcome = data::StepOutcome::kSkippedNoSignal;
  } else {
    VOLERY_RETURN_IF_ERROR(RunOptimiserSteps(sequences, result));
  }
  counters_.optimiser_steps += algorithm_.optimiser_steps;
  ++counters_.version;
  return result;
}

LocalTrainer::StepPlan LocalTrainer::PlanStep(const std::vector<TrainSequence>& sequences) const {
  StepPlan plan;
  for (std::vector<int32_t>& part : data::SplitForOptimiserSteps(sequences, algorithm_.optimiser_steps)) {
    plan.shares.push_back(
        data::ShareByTokens(sequences, part, comm_.world())[static_cast<size_t>(comm_.rank())]);
    plan.mine.insert(plan.mine.end(), plan.shares.back().begin(), plan.shares.back().end());
    plan.counts.push_back(Count(sequences, part));
  }
  const bool recorded = std::all_of(sequences.begin(), sequences.end(),
                                    [](const TrainSequence& s) { return !s.behaviour.empty(); });
  plan.recompute = algorithm_.loss.denominator == Denominator::kProximal || !recorded;
  return plan;
}

Status LocalTrainer::RunOptimiserSteps(const std::vector<TrainSequence>& sequences,
                                       data::StepResult& result) {
  UseFreshMoments();
  const StepPlan plan = PlanStep(sequences);
  SamplerDifference difference;
  const TokenObserver measure = [&](const TrainSequence& sequence, size_t position, double logprob) {
    difference.Observe(sequence, position, logprob, counters_.version);
  };
  VOLERY_ASSIGN_OR_RETURN(const TokenValues denominators,
                          Denominators(sequences, plan.mine, plan.recompute, measure));
  VOLERY_ASSIGN_OR_RETURN(const TokenValues references, References(sequences, plan.mine));

  StepTotals totals;
  for (size_t i = 0; i < plan.shares.size(); ++i) {
    if (plan.counts[i].tokens == 0) continue;
    const LossBatch batch{sequences, algorithm_.loss, plan.counts[i], &denominators,
                          reference_.defined() ? &references : nullptr};
    const int64_t clock = counters_.optimiser_steps + static_cast<int64_t>(i);
    result.metrics["lr"] = LearningRate(options_.optim.schedule, clock);
    // Only the first part is seen with the weights that the step began with.
    const bool observe = i == 0 && !plan.recompute;
    VOLERY_ASSIGN_OR_RETURN(
        const OptimiserOutcome outcome,
        OptimiserStep(batch, plan.shares[i], options_.optim, clock, observe ? measure : IgnoreToken));
    totals.Add(outcome);
  }
  VOLERY_RETURN_IF_ERROR(ReduceDifference(difference));
  difference.Report(result.metrics);
  totals.Report(reference_.defined(), result.metrics);
  if (totals.applied == 0) {
    result.outcome = data::StepOutcome::kSkippedNotFinite;
    result.reason = "loss or gradients are not finite (NaN or infinite)";
  }
  return OkStatus();
}

StatusOr<TokenValues> LocalTrainer::Denominators(std::span<const TrainSequence> sequences,
                                                 std::span<const int32_t> mine, bool recompute,
                                                 const TokenObserver& observe) {
  TokenValues values(sequences.size());
  if (recompute) {
    VOLERY_RETURN_IF_ERROR(
        tensor::Guard("recomputing log-probs", [&] { pass_.Evaluate(sequences, mine, values, observe); }));
  } else {
    for (int32_t index : mine)
      values[static_cast<size_t>(index)] = CountedBehaviour(sequences[static_cast<size_t>(index)]);
  }
  return values;
}

StatusOr<TokenValues> LocalTrainer::References(std::span<const TrainSequence> sequences,
                                               std::span<const int32_t> mine) {
  TokenValues values(sequences.size());
  if (!reference_.defined()) return values;
  store_->SwapMasters(reference_);
  const Status status = tensor::Guard("log-probs of the reference",
                                      [&] { pass_.Evaluate(sequences, mine, values, IgnoreToken); });
  store_->SwapMasters(reference_);
  VOLERY_RETURN_IF_ERROR(status);
  return values;
}

StatusOr<LocalTrainer::OptimiserOutcome> LocalTrainer::OptimiserStep(const LossBatch& batch,
                                                                     std::span<const int32_t> mine,
                                                                     const OptimiserOptions& optim,
                                                                     int64_t clock,
                                                                     const TokenObserver& observe) {
  OptimiserOutcome outcome;
  store_->ZeroGradients();
  VOLERY_RETURN_IF_ERROR(
      tensor::Guard("forward and backward", [&] { pass_.Accumulate(batch, mine, outcome.sums, observe); }));
  VOLERY_RETURN_IF_ERROR(ReduceSums(outcome.sums));
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(store_->gradients(), "gradients"));
  return tensor::Guard("optimiser step", [&] {
    outcome.grad_norm = GlobalNorm(store_->gradients());
    if (!std::isfinite(outcome.grad_norm) || !std::isfinite(outcome.sums.loss)) return outcome;
    const double scale =
        optim.max_grad_norm > 0 ? std::min(1.0, optim.max_grad_norm / (outcome.grad_norm + 1e-6)) : 1;
    AdamOptions adam = optim.adam;
    adam.weight_decay = WeightDecay(optim.schedule, adam.weight_decay, clock);
    adam_.Step(*store_, adam, LearningRate(optim.schedule, clock), scale);
    counters_.adam_steps = adam_.steps();
    outcome.applied = true;
    return outcome;
  });
}

StatusOr<double> LocalTrainer::RunSupervised(const std::vector<TrainSequence>& examples) {
  const std::vector<int32_t> all = AllOf(examples);
  const LossBatch batch{examples, SupervisedLoss(), Count(examples, all), nullptr, nullptr};
  if (batch.counts.tokens == 0)
    return InvalidError("no token of the supervised examples counts in the loss; check their loss masks");
  const auto mine = data::ShareByTokens(examples, all, comm_.world())[static_cast<size_t>(comm_.rank())];
  VOLERY_ASSIGN_OR_RETURN(
      const OptimiserOutcome outcome,
      OptimiserStep(batch, mine, options_.supervised, counters_.supervised_steps, IgnoreToken));
  ++counters_.supervised_steps;
  counters_.moments_are_supervised = true;
  return outcome.sums.loss;
}

void LocalTrainer::UseFreshMoments() {
  if (!counters_.moments_are_supervised) return;
  adam_.Reset();
  counters_.adam_steps = 0;
  counters_.moments_are_supervised = false;
}

StatusOr<data::WeightVersionPtr> LocalTrainer::Snapshot() {
  return tensor::Guard("naming the weights", [&]() -> data::WeightVersionPtr {
    return policy::MakeVersion(version(), store_->Current());
  });
}

native::NamedTensors LocalTrainer::CopyWeights() const {
  return store_->Copy(store_->masters().scalar_type());
}

TrainerTensors LocalTrainer::Tensors() const {
  return {store_->masters(), adam_.first_moment(), adam_.second_moment(), reference_};
}

Status LocalTrainer::SaveState(const std::string& folder) {
  return WriteTrainerState(folder, store_->ranges(), Tensors(), counters_);
}

Status LocalTrainer::LoadState(const std::string& folder) {
  TrainerTensors tensors = Tensors();
  VOLERY_RETURN_IF_ERROR(ReadTrainerState(folder, store_->ranges(), tensors, counters_));
  if (comm_.world() > 1) VOLERY_RETURN_IF_ERROR(comm_.Announce("load"));
  return SyncFromRankZero();
}

}  // namespace volery::training
