// The part of LocalTrainer that talks to other ranks.
#include <ATen/ATen.h>

#include "core/training/sequence_codec.h"
#include "core/training/trainer.h"

namespace volery::training {
namespace {

constexpr char kStop[] = "stop";
constexpr int64_t kFarewellMs = 5000;

}  // namespace

Status LocalTrainer::SendToFollowers(const char* command, std::span<const data::TrainSequence> sequences) {
  if (comm_.world() == 1) return OkStatus();
  if (comm_.rank() != 0)
    return PreconditionError("rank ", comm_.rank(),
                             " was handed a batch; only rank 0 runs the loop, others call Follow");
  VOLERY_RETURN_IF_ERROR(comm_.Announce(command));
  return comm_.BroadcastBytes(EncodeSequences(sequences), 0, "the batch").status();
}

StatusOr<std::vector<data::TrainSequence>> LocalTrainer::ReceiveSequences() {
  VOLERY_ASSIGN_OR_RETURN(const std::string bytes, comm_.BroadcastBytes("", 0, "the batch"));
  return DecodeSequences(bytes);
}

Status LocalTrainer::Follow(const base::StopToken& stop) {
  if (comm_.rank() == 0) return PreconditionError("rank 0 runs the loop; it has nobody to follow");
  for (;;) {
    const auto command = comm_.AwaitAnnouncement(stop);
    if (!command.ok()) return command.status();
    if (*command == kStop) return OkStatus();
    VOLERY_RETURN_IF_ERROR(Obey(*command));
  }
}

Status LocalTrainer::Obey(const std::string& command) {
  if (command == "load") return SyncFromRankZero();
  VOLERY_ASSIGN_OR_RETURN(const std::vector<data::TrainSequence> sequences, ReceiveSequences());
  if (command == "step") return RunStep(sequences).status();
  if (command == "supervised") return RunSupervised(sequences).status();
  return InternalError("rank 0 announced \"", command,
                       "\", which this build doesn't know; run the same build on all ranks");
}

Status LocalTrainer::StopFollowers() {
  if (comm_.world() == 1 || comm_.rank() != 0 || followers_stopped_) return OkStatus();
  followers_stopped_ = true;
  VOLERY_RETURN_IF_ERROR(comm_.Announce(kStop));
  // The meeting point may live in this process: the others must have read before it ends.
  return comm_.AwaitReaders(kFarewellMs);
}

Status LocalTrainer::SyncFromRankZero() {
  if (comm_.world() > 1) {
    VOLERY_ASSIGN_OR_RETURN(const std::string text,
                            comm_.BroadcastBytes(CountersToJson(counters_), 0, "the trainer's counters"));
    VOLERY_ASSIGN_OR_RETURN(counters_, CountersFromJson(text, "rank 0"));
    const TrainerTensors tensors = Tensors();
    for (const at::Tensor& flat :
         {tensors.masters, tensors.first_moment, tensors.second_moment, tensors.reference}) {
      if (flat.defined()) VOLERY_RETURN_IF_ERROR(comm_.Broadcast(flat, 0, "the trainer's state"));
    }
  }
  adam_.set_steps(counters_.adam_steps);
  store_->PublishMasters();
  return OkStatus();
}

Status LocalTrainer::ReduceSums(LossSums& sums) {
  const auto values = sums.Pack();
  at::Tensor packed = at::tensor(std::vector<double>(values.begin(), values.end()), at::kDouble);
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(packed, "loss sums"));
  sums = LossSums::Unpack({packed.const_data_ptr<double>(), LossSums::kCount});
  return OkStatus();
}

Status LocalTrainer::ReduceDifference(SamplerDifference& difference) {
  if (comm_.world() == 1) return OkStatus();
  // The maximum travels in a slot of each rank, so that one kind of sum is enough.
  constexpr size_t kSums = SamplerDifference::kSums;
  const auto sums = difference.PackSums();
  std::vector<double> values(sums.begin(), sums.end());
  values.resize(kSums + static_cast<size_t>(comm_.world()), 0.0);
  values[kSums + static_cast<size_t>(comm_.rank())] = difference.largest;
  at::Tensor packed = at::tensor(values, at::kDouble);
  VOLERY_RETURN_IF_ERROR(comm_.AllReduceSum(packed, "mismatch sums"));
  const double* reduced = packed.const_data_ptr<double>();
  difference.UnpackSums({reduced, kSums});
  for (int rank = 0; rank < comm_.world(); ++rank) {
    const double largest = reduced[kSums + static_cast<size_t>(rank)];
    if (!(largest <= difference.largest)) difference.largest = largest;
  }
  return OkStatus();
}

}  // namespace volery::training
