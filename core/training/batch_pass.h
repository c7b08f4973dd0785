#pragma once
// BatchPass: log-probs and loss gradients of many sequences through one model, micro-batch by micro-batch.
// Joins packing, forward pass, head and loss. Nothing it returns depends on how sequences are packed, up to
// rounding. The trainer's thread only. Throws what the model and LibTorch throw.

#include <functional>
#include <span>
#include <vector>

#include "core/data/packing.h"
#include "core/data/text_batch.h"
#include "core/training/head.h"
#include "core/training/loss.h"
#include "core/training/parameters.h"
#include "volery/native/model.h"

namespace volery::training {

// One vector a sequence, one entry a counted token in the order of positions; empty where not filled.
using TokenValues = std::vector<std::vector<double>>;
// Sees each counted token's log-prob once.
using TokenObserver =
    std::function<void(const data::TrainSequence& sequence, size_t position, double logprob)>;
// Also whether the token was the likeliest one.
using LikeliestObserver = std::function<void(const data::TrainSequence& sequence, size_t position,
                                             double logprob, bool likeliest)>;

// States of recurrent models on their way from one chunk of a text to the next, by lane.
struct CarriedStates {
  std::span<const data::TextPiece> pieces;  // one a sequence
  std::vector<at::Tensor> now;              // what the chunk before left
  std::vector<at::Tensor> next;             // what this one leaves; filled
};

// Everything the loss reads besides the model.
struct LossBatch {
  std::span<const data::TrainSequence> sequences;
  LossSpec spec;
  NormaliserCounts counts;                    // of the optimiser step, over all ranks
  const TokenValues* denominators = nullptr;  // nullptr: the current log-probs (r = 1)
  const TokenValues* references = nullptr;    // needed when spec.kl > 0
  double l2wrap = 0;                          // see Head::Backward
  CarriedStates* carried = nullptr;           // nullptr: every sequence starts a text
};

class BatchPass {
 public:
  struct Options {
    data::PackingOptions packing;
    HeadOptions head;
    bool checkpoint_activations = false;
  };

  BatchPass(native::Model& model, ParameterStore& store, const Options& options);

  // Fills values[i] for every i in `indices`.
  void Evaluate(std::span<const data::TrainSequence> sequences, std::span<const int32_t> indices,
                TokenValues& values, const TokenObserver& observe) const;
  // The same for a text, whose tokens are only observed.
  void Measure(std::span<const data::TrainSequence> sequences, std::span<const int32_t> indices,
               const LikeliestObserver& observe, CarriedStates* carried) const;
  // Adds the gradient of the sequences in `indices` to the store and their terms to `sums`.
  void Accumulate(const LossBatch& batch, std::span<const int32_t> indices, LossSums& sums,
                  const TokenObserver& observe) const;

 private:
  void AccumulateMicroBatch(const LossBatch& batch, const data::MicroBatch& micro, LossSums& sums,
                            const TokenObserver& observe) const;

  native::Model& model_;
  ParameterStore& store_;
  const Options options_;
  const Head head_;
};

}  // namespace volery::training
