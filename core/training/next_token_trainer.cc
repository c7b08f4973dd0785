#include "core/training/next_token_trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::training {
namespace {

BatchPass::Options PassOptions(const TrainerOptions& options, int64_t vocabulary) {
  BatchPass::Options out;
  out.packing = {options.micro_batch_tokens, false};
  out.head = {vocabulary, options.head_rows};
  out.checkpoint_activations = options.checkpoint_activations;
  return out;
}

NormaliserCounts Count(const data::TextBatch& batch) {
  NormaliserCounts counts;
  for (const data::TextChunk& chunk : batch.chunks) {
    for (const data::TrainSequence& sequence : chunk.sequences) {
      counts.tokens += sequence.LossTokens();
      counts.sequences += 1;
    }
  }
  return counts;
}

// Adds each token's loss at its place in the text.
TokenObserver Observe(const data::TextChunk& chunk, data::LossByPosition& losses) {
  return [&chunk, &losses](const data::TrainSequence& sequence, size_t position, double logprob) {
    const auto index = static_cast<size_t>(&sequence - chunk.sequences.data());
    losses.Add(chunk.pieces[index].position + static_cast<int64_t>(position), -logprob);
  };
}
LikeliestObserver ObserveLikeliest(const data::TextChunk& chunk, data::LossByPosition& losses) {
  return [observe = Observe(chunk, losses), &losses](const data::TrainSequence& sequence, size_t position,
                                                     double logprob, bool likeliest) {
    observe(sequence, position, logprob);
    if (likeliest) losses.likeliest += 1;
  };
}

// Walks the chunks in their order; `visit` gets the states that each begins with.
template <class Visit>
void ForEachChunk(const data::TextBatch& batch, Visit visit) {
  std::vector<at::Tensor> states(static_cast<size_t>(batch.lanes));
  for (const data::TextChunk& chunk : batch.chunks) {
    CarriedStates carried{chunk.pieces, std::move(states),
                          std::vector<at::Tensor>(static_cast<size_t>(batch.lanes))};
    visit(chunk, batch.chunks.size() > 1 ? &carried : nullptr);
    states = std::move(carried.next);
  }
}

}  // namespace

NextTokenTrainer::NextTokenTrainer(NextTokenSetup setup, std::unique_ptr<ParameterStore> store)
    : model_(std::move(setup.model)),
      options_(setup.options),
      comm_(*setup.comm),
      vocabulary_(setup.vocabulary),
      l2wrap_(setup.l2wrap),
      store_(std::move(store)),
      adam_(*store_),
      pass_(*model_, *store_, PassOptions(options_, vocabulary_)) {
  model_->Bind(store_->bound());
}

StatusOr<std::unique_ptr<NextTokenTrainer>> NextTokenTrainer::Create(NextTokenSetup setup) {
  VOLERY_CHECK(setup.model != nullptr && setup.comm != nullptr);
  VOLERY_RETURN_IF_ERROR(Annotate(CheckSchedule(setup.options.optim.schedule), "trainer.optim"));
  const int64_t rows = setup.model->info().vocabulary;
  if (setup.vocabulary < 1 || setup.vocabulary > rows) {
    return InvalidError("the tokenizer has ", setup.vocabulary, " ids but the model predicts ", rows,
                        "; use the tokenizer the model was made for");
  }
  std::vector<native::TensorSpec> specs = setup.model->parameters();
  for (native::TensorSpec& spec : specs) {
    const auto found = setup.lr_scale.find(spec.name);
    if (found != setup.lr_scale.end()) spec.lr_scale = found->second;
  }
  VOLERY_ASSIGN_OR_RETURN(
      auto store, ParameterStore::Create(specs, setup.initial, setup.options.dtype,
                                         setup.options.device, setup.frozen));
  if (store->ranges().empty()) return InvalidError("no tensor is left to train; see pretrain.trainable");
  setup.initial.clear();
  return tensor::Guard("making the trainer", [&]() -> StatusOr<std::unique_ptr<NextTokenTrainer>> {
    std::unique_ptr<NextTokenTrainer> trainer(new NextTokenTrainer(std::move(setup), std::move(store)));
    VOLERY_RETURN_IF_ERROR(trainer->SyncFromRankZero());
    return trainer;
  });
}

Status NextTokenTrainer::CheckBatch(const data::TextBatch& batch) const {
  if (batch.chunks.size() > 1 && !model_->info().recurrent) {
    return InvalidError(
        "the model carries no state over contexts, so pretrain.carry must be 1; raise "
        "pretrain.context instead");
  }
  for (const data::TextChunk& chunk : batch.chunks) {
    for (const data::TrainSequence& sequence : chunk.sequences) {
      for (int32_t token : sequence.tokens) {
        if (token < 0 || token >= vocabulary_)
          return InvalidError("token id ", token, " in the text; ids must be below ", vocabulary_);
      }
    }
  }
  return OkStatus();
}

std::vector<int32_t> NextTokenTrainer::Mine(const data::TextChunk& chunk) const {
  std::vector<int32_t> mine;
  for (size_t i = 0; i < chunk.pieces.size(); ++i) {
    if (chunk.pieces[i].lane % comm_.world() == comm_.rank()) mine.push_back(static_cast<int32_t>(i));
  }
  return mine;
}

void NextTokenTrainer::Accumulate(const data::TextBatch& batch, const NormaliserCounts& counts,
                                  LossSums& sums, data::LossByPosition& losses) const {
  ForEachChunk(batch, [&](const data::TextChunk& chunk, CarriedStates* carried) {
    LossBatch loss{chunk.sequences, SupervisedLoss(), counts};
    loss.l2wrap = l2wrap_ / static_cast<double>(counts.tokens);
    loss.carried = carried;
    pass_.Accumulate(loss, Mine(chunk), sums, Observe(chunk, losses));
  });
}

StatusOr<data::StepResult> NextTokenTrainer::Step(const data::TextBatch& batch) {
  VOLERY_RETURN_IF_ERROR(CheckBatch(batch));
  const NormaliserCounts counts = Count(batch);
  data::StepResult result;
  const int64_t clock = counters_.version++;
  counters_.optimiser_steps = counters_.version;
  const double lr = LearningRate(options_.optim.schedule, clock);
  result.metrics = {{"lr", lr}, {"tokens", static_cast<double>(counts.tokens)}};
  if (counts.tokens == 0) {
    result.outcome = data::StepOutcome::kSkippedNoSignal;
    result.reason =
        "no token of the step is predicted: its documents have one token each, or their labels ask for no "
        "loss; raise pretrain.sequences or look at the text";
    return result;
  }
  store_->ZeroGradients();
  LossSums sums;
  data::LossByPosition losses;
  VOLERY_RETURN_IF_ERROR(
      tensor::Guard("forward and backward", [&] { Accumulate(batch, counts, sums, losses); }));
  VOLERY_RETURN_IF_ERROR(Reduce(sums, losses));
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(store_->gradients(), "gradients"));
  return tensor::Guard("optimiser step", [&] {
    const double norm = GlobalNorm(store_->gradients());
    if (!std::isfinite(norm) || !std::isfinite(sums.loss)) {
      result.outcome = data::StepOutcome::kSkippedNotFinite;
      result.reason = "loss or gradients are not finite (NaN or infinite)";
      return result;
    }
    const OptimiserOptions& optim = options_.optim;
    AdamOptions adam = optim.adam;
    adam.weight_decay = WeightDecay(optim.schedule, adam.weight_decay, clock);
    adam_.Step(*store_, adam, lr,
               optim.max_grad_norm > 0 ? std::min(1.0, optim.max_grad_norm / (norm + 1e-6)) : 1);
    counters_.adam_steps = adam_.steps();
    result.metrics["loss"] = sums.loss;
    result.metrics["grad_norm"] = norm;
    losses.Report("", result.metrics);
    return result;
  });
}

StatusOr<data::LossByPosition> NextTokenTrainer::Evaluate(const data::TextBatch& batch) {
  VOLERY_RETURN_IF_ERROR(CheckBatch(batch));
  data::LossByPosition losses;
  VOLERY_RETURN_IF_ERROR(tensor::Guard("measuring the loss", [&] {
    ForEachChunk(batch, [&](const data::TextChunk& chunk, CarriedStates* carried) {
      pass_.Measure(chunk.sequences, Mine(chunk), ObserveLikeliest(chunk, losses), carried);
    });
  }));
  LossSums none;
  VOLERY_RETURN_IF_ERROR(Reduce(none, losses));
  return losses;
}

Status NextTokenTrainer::Reduce(LossSums& sums, data::LossByPosition& losses) {
  if (comm_.world() == 1) return OkStatus();
  const auto packed_sums = sums.Pack();
  std::vector<double> values(packed_sums.begin(), packed_sums.end());
  values.insert(values.end(), losses.sums.begin(), losses.sums.end());
  values.insert(values.end(), losses.counts.begin(), losses.counts.end());
  values.push_back(losses.likeliest);
  at::Tensor packed = at::tensor(values, at::kDouble);
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(packed, "loss sums"));
  const double* reduced = packed.const_data_ptr<double>();
  sums = LossSums::Unpack({reduced, LossSums::kCount});
  std::copy_n(reduced + LossSums::kCount, losses.sums.size(), losses.sums.begin());
  std::copy_n(reduced + LossSums::kCount + losses.sums.size(), losses.counts.size(), losses.counts.begin());
  losses.likeliest = reduced[LossSums::kCount + losses.sums.size() + losses.counts.size()];
  return OkStatus();
}

StatusOr<bool> NextTokenTrainer::AnyRank(bool mine) {
  if (comm_.world() == 1) return mine;
  at::Tensor votes = at::tensor(std::vector<double>{mine ? 1.0 : 0.0}, at::kDouble);
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(votes, "whether to go on"));
  return votes.item<double>() > 0;
}

StatusOr<data::WeightVersionPtr> NextTokenTrainer::Snapshot() {
  return tensor::Guard("naming the weights", [&]() -> data::WeightVersionPtr {
    return policy::MakeVersion(version(), store_->Current());
  });
}

TrainerTensors NextTokenTrainer::Tensors() const {
  return {store_->masters(), adam_.first_moment(), adam_.second_moment(), {}};
}

Status NextTokenTrainer::SaveState(const std::string& folder) {
  return WriteTrainerState(folder, store_->ranges(), Tensors(), counters_);
}

Status NextTokenTrainer::LoadState(const std::string& folder) {
  if (comm_.rank() == 0) {
    TrainerTensors tensors = Tensors();
    VOLERY_RETURN_IF_ERROR(ReadTrainerState(folder, store_->ranges(), tensors, counters_));
  }
  return SyncFromRankZero();
}

Status NextTokenTrainer::SyncFromRankZero() {
  if (comm_.world() > 1) {
    VOLERY_ASSIGN_OR_RETURN(const std::string text,
                            comm_.BroadcastBytes(CountersToJson(counters_), 0, "the trainer's counters"));
    VOLERY_ASSIGN_OR_RETURN(counters_, CountersFromJson(text, "rank 0"));
    const TrainerTensors tensors = Tensors();
    for (const at::Tensor& flat : {tensors.masters, tensors.first_moment, tensors.second_moment})
      VOLERY_RETURN_IF_ERROR(comm_.Broadcast(flat, 0, "the trainer's state"));
  }
  adam_.set_steps(counters_.adam_steps);
  store_->PublishMasters();
  return OkStatus();
}

}  // namespace volery::training
