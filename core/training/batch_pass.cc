#include "core/training/batch_pass.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/training/forward_pass.h"

namespace volery::training {
namespace {

// The targets of each sequence lie together in a micro-batch: [first, end) of targets.
struct SequenceTargets {
  int32_t sequence = 0;
  size_t first = 0, end = 0;
};

std::vector<SequenceTargets> GroupTargets(const data::MicroBatch& micro) {
  std::vector<SequenceTargets> out;
  for (size_t i = 0; i < micro.targets.size(); ++i) {
    if (out.empty() || out.back().sequence != micro.targets[i].sequence)
      out.push_back({micro.targets[i].sequence, i, i});
    out.back().end = i + 1;
  }
  return out;
}

// Evaluates the loss of one micro-batch's targets.
class MicroBatchLoss {
 public:
  MicroBatchLoss(const LossBatch& batch, const data::MicroBatch& micro, LossSums& sums,
                 const TokenObserver& observe)
      : batch_(batch), micro_(micro), sums_(sums), observe_(observe), group_of_target_(micro.targets.size()) {
    for (const SequenceTargets& group : GroupTargets(micro)) {
      std::fill(group_of_target_.begin() + static_cast<std::ptrdiff_t>(group.first),
                group_of_target_.begin() + static_cast<std::ptrdiff_t>(group.end), group);
    }
  }

  // Targets [first, first + size) of one sequence, in order.
  void Evaluate(size_t first, std::span<const double> logprob, std::span<const double> entropy,
                std::span<double> gradient_logprob, std::span<double> gradient_entropy) const {
    const SequenceTargets& group = group_of_target_[first];
    const auto index = static_cast<size_t>(group.sequence);
    const data::TrainSequence& sequence = batch_.sequences[index];
    const size_t offset = first - group.first;
    const double weight =
        TokenWeight(batch_.spec, batch_.counts, static_cast<int64_t>(group.end - group.first));
    SequenceTerms terms{logprob, entropy, logprob, {}, sequence.advantage, weight};
    if (batch_.denominators != nullptr)
      terms.denominator = std::span((*batch_.denominators)[index]).subspan(offset, logprob.size());
    if (batch_.references != nullptr)
      terms.reference = std::span((*batch_.references)[index]).subspan(offset, logprob.size());
    EvaluateSequence(batch_.spec, terms, sums_, gradient_logprob, gradient_entropy);
    for (size_t i = 0; i < logprob.size(); ++i) {
      observe_(sequence, static_cast<size_t>(micro_.targets[first + i].position), logprob[i]);
    }
  }

 private:
  const LossBatch& batch_;
  const data::MicroBatch& micro_;
  LossSums& sums_;
  const TokenObserver& observe_;
  std::vector<SequenceTargets> group_of_target_;  // all counted tokens of a sequence are in one micro-batch
};

// A token's ratio needs only that token: loss and gradient in the same pass over the head.
at::Tensor BackwardByToken(const Head& head, const at::Tensor& hidden, const data::MicroBatch& micro,
                           const MicroBatchLoss& loss, double l2wrap) {
  return head.Backward(
      hidden, micro,
      [&](std::span<const int32_t> targets, std::span<const double> l, std::span<const double> h,
          std::span<double> gradient_l, std::span<double> gradient_h) {
        for (size_t i = 0; i < targets.size(); ++i) {
          loss.Evaluate(static_cast<size_t>(targets[i]), l.subspan(i, 1), h.subspan(i, 1),
                        gradient_l.subspan(i, 1), gradient_h.subspan(i, 1));
        }
      },
      l2wrap);
}

// A sequence's ratio needs all of its tokens first: one pass over the head for those, a second one for
// gradients.
at::Tensor BackwardBySequence(const Head& head, const at::Tensor& hidden, const data::MicroBatch& micro,
                              const MicroBatchLoss& loss) {
  std::vector<double> l, h;
  head.Evaluate(hidden, micro, l, h);
  std::vector<double> all_l(l.size()), all_h(l.size());
  for (const SequenceTargets& group : GroupTargets(micro)) {
    const size_t size = group.end - group.first;
    loss.Evaluate(group.first, std::span(l).subspan(group.first, size),
                  std::span(h).subspan(group.first, size), std::span(all_l).subspan(group.first, size),
                  std::span(all_h).subspan(group.first, size));
  }
  return head.Backward(hidden, micro,
                       [&](std::span<const int32_t> targets, std::span<const double>, std::span<const double>,
                           std::span<double> gradient_l, std::span<double> gradient_h) {
                         for (size_t i = 0; i < targets.size(); ++i) {
                           gradient_l[i] = all_l[static_cast<size_t>(targets[i])];
                           gradient_h[i] = all_h[static_cast<size_t>(targets[i])];
                         }
                       });
}

const data::TextPiece& PieceOf(const CarriedStates& carried, const data::PackedSegment& segment) {
  return carried.pieces[static_cast<size_t>(segment.sequence)];
}

SegmentStates StatesOf(const data::MicroBatch& micro, const CarriedStates* carried) {
  SegmentStates states;
  if (carried == nullptr) return states;
  states.initial.resize(micro.segments.size());
  for (size_t i = 0; i < micro.segments.size(); ++i) {
    const data::TextPiece& piece = PieceOf(*carried, micro.segments[i]);
    if (piece.continues) states.initial[i] = carried->now[static_cast<size_t>(piece.lane)];
    states.keep_final = states.keep_final || piece.carries;
  }
  return states;
}

void KeepStates(const ForwardPass& pass, const data::MicroBatch& micro, CarriedStates* carried) {
  if (carried == nullptr) return;
  for (size_t i = 0; i < micro.segments.size(); ++i) {
    const data::TextPiece& piece = PieceOf(*carried, micro.segments[i]);
    if (piece.carries)
      carried->next[static_cast<size_t>(piece.lane)] = pass.FinalState(static_cast<int64_t>(i));
  }
}

}  // namespace

BatchPass::BatchPass(native::Model& model, ParameterStore& store, const Options& options)
    : model_(model), store_(store), options_(options), head_(model, options.head) {}

void BatchPass::Evaluate(std::span<const data::TrainSequence> sequences, std::span<const int32_t> indices,
                         TokenValues& values, const TokenObserver& observe) const {
  std::vector<double> l, h;
  for (const data::MicroBatch& micro : data::PackSequences(sequences, indices, options_.packing)) {
    const ForwardPass pass(model_, micro, Recording::kNone, store_.masters().device(), {});
    head_.Evaluate(pass.hidden(), micro, l, h);
    for (const SequenceTargets& group : GroupTargets(micro)) {
      const auto index = static_cast<size_t>(group.sequence);
      values[index].assign(l.begin() + static_cast<std::ptrdiff_t>(group.first),
                           l.begin() + static_cast<std::ptrdiff_t>(group.end));
      for (size_t i = group.first; i < group.end; ++i) {
        observe(sequences[index], static_cast<size_t>(micro.targets[i].position), l[i]);
      }
    }
  }
}

void BatchPass::Measure(std::span<const data::TrainSequence> sequences, std::span<const int32_t> indices,
                        const LikeliestObserver& observe, CarriedStates* carried) const {
  std::vector<double> l, h;
  std::vector<uint8_t> likeliest;
  for (const data::MicroBatch& micro : data::PackSequences(sequences, indices, options_.packing)) {
    const ForwardPass pass(model_, micro, Recording::kNone, store_.masters().device(),
                           StatesOf(micro, carried));
    KeepStates(pass, micro, carried);
    head_.Evaluate(pass.hidden(), micro, l, h, &likeliest);
    for (size_t i = 0; i < micro.targets.size(); ++i) {
      const data::PackedTarget& target = micro.targets[i];
      observe(sequences[static_cast<size_t>(target.sequence)], static_cast<size_t>(target.position), l[i],
              likeliest[i] != 0);
    }
  }
}

void BatchPass::Accumulate(const LossBatch& batch, std::span<const int32_t> indices, LossSums& sums,
                           const TokenObserver& observe) const {
  for (const data::MicroBatch& micro : data::PackSequences(batch.sequences, indices, options_.packing)) {
    AccumulateMicroBatch(batch, micro, sums, observe);
  }
}

void BatchPass::AccumulateMicroBatch(const LossBatch& batch, const data::MicroBatch& micro, LossSums& sums,
                                     const TokenObserver& observe) const {
  const Recording recording = options_.checkpoint_activations ? Recording::kCheckpoint : Recording::kGraph;
  ForwardPass pass(model_, micro, recording, store_.masters().device(), StatesOf(micro, batch.carried));
  KeepStates(pass, micro, batch.carried);
  const MicroBatchLoss loss(batch, micro, sums, observe);
  const at::Tensor hidden = pass.hidden();
  const bool by_sequence = batch.spec.ratio_level == RatioLevel::kSequence && batch.spec.policy_weight > 0;
  const at::Tensor gradient = by_sequence ? BackwardBySequence(head_, hidden, micro, loss)
                                          : BackwardByToken(head_, hidden, micro, loss, batch.l2wrap);
  pass.Backward(gradient);
}

}  // namespace volery::training
