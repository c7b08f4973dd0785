#pragma once
// Packing: rollouts -> micro-batches of bounded token counts for the trainer. A sequence is never split;
// sequences of one group that land in the same micro-batch share their prompt as one parent segment, which is
// computed once. Which token each row predicts is stated by targets, because a shared prompt's last row
// predicts the first token of several completions. No weights of the loss are decided here: they must not
// depend on packing. Pure functions, thread-safe.

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/status.h"
#include "core/data/rollout.h"

namespace volery::data {

// A rollout as the trainer reads it. Vectors have one entry a token of `tokens`.
struct TrainSequence {
  int64_t group = 0;          // index of its group in the batch
  int64_t prompt_length = 0;  // leading tokens that siblings share
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss_mask;      // 1: the loss counts this token; never the first token
  std::vector<float> behaviour;        // log-prob when sampled, 0 elsewhere; empty: not known
  std::vector<int64_t> versions;       // weights that sampled it, -1 where none
  std::vector<int64_t> oldest_states;  // oldest version in the decode state read for it, -1 where none
  float temperature = 1;
  double advantage = 0;

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t LossTokens() const;
};

// Errors: no tokens; log-probs, loss mask or marks whose length or order does not fit their span; a loss on
// the very first token (nothing predicts it); a temperature that isn't positive (0 counts as 1: greedy
// log-probs are at T = 1).
StatusOr<TrainSequence> MakeTrainSequence(const Rollout& rollout, int64_t group, double advantage);

// All rollouts of a batch in the order of its groups and their samples. Errors name step, group and sample;
// advantages must be one a rollout.
StatusOr<std::vector<TrainSequence>> MakeTrainSequences(const TrainBatch& batch);

struct PackedSegment {
  int64_t begin = 0, end = 0, parent = -1;  // as native::Segment
  int32_t sequence = -1;                    // whose tokens it holds; of a shared prompt its first sequence
};

// Token `position` of sequence `sequence` is predicted by rows[row].
struct PackedTarget {
  int32_t row = 0;
  int32_t token = 0;
  int32_t sequence = 0;
  int32_t position = 0;
};

struct MicroBatch {
  std::vector<int32_t> tokens;
  std::vector<int64_t> positions;
  std::vector<PackedSegment>
      segments;                     // ascending, disjoint, covering tokens; a parent precedes its children
  std::vector<int64_t> rows;        // ascending indices into tokens: the rows whose logits are needed
  std::vector<float> temperatures;  // one a row
  std::vector<PackedTarget>
      targets;  // by sequence, then position; all targets of a sequence are in one micro-batch
};

struct PackingOptions {
  int64_t max_tokens = 4096;  // of a micro-batch; a longer single sequence gets a micro-batch of its own
  bool share_prompts = true;
};

// Packs sequences[indices] in the order of `indices`, next fit. Tokens behind a sequence's last target are
// left out (no logits of theirs are needed), and sequences without a target altogether. Deterministic.
std::vector<MicroBatch> PackSequences(std::span<const TrainSequence> sequences,
                                      std::span<const int32_t> indices, const PackingOptions& options);

// Splits sequences[indices] over `ranks` so that token counts are even: whole groups where there are at least
// two a rank, else single sequences; largest first to the least loaded. Each list keeps the order of
// `indices`.
std::vector<std::vector<int32_t>> ShareByTokens(std::span<const TrainSequence> sequences,
                                                std::span<const int32_t> indices, int ranks);

// Contiguous parts of `sequences` for several optimiser steps on one batch, at most `parts`, none empty: cut
// between groups where there are enough groups, else between sequences.
std::vector<std::vector<int32_t>> SplitForOptimiserSteps(std::span<const TrainSequence> sequences, int parts);

}  // namespace volery::data
