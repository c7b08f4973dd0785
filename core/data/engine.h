#pragma once
// Engine: continuous batching over decode slots. One thread (the sampler's) owns an engine and calls everything but
// Prepare and Cancel; the engine starts no threads of its own.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/data/rollout.h"
#include "core/data/weights.h"
#include "core/text/stop_matcher.h"

namespace volery::data {

// Sampling: vocabulary mask, temperature, top-k, top-p, min-p, renormalise, add Gumbel noise, argmax, lowest id on ties.
// temperature 0 is greedy and reports log-probs at T = 1. top_k 0, top_p 1, min_p 0: off.
struct SamplingParams {
  float temperature = 1;
  float top_p = 1;
  float min_p = 0;
  int32_t top_k = 0;
  int32_t max_new_tokens = 32;
  std::vector<int32_t> stop_ids;
  std::shared_ptr<const text::StopRules> stop_rules;  // ends a sample where texts do; null: only stop_ids
  uint64_t seed = 0;           // the run's seed: noise is keyed by (seed, group, sample, position, use)
};

struct SequenceId {
  int64_t value = -1;
  friend auto operator<=>(const SequenceId&, const SequenceId&) = default;
};

// `samples` completions of one prompt, read once and forked. Sequences are numbered sample_base + 0 ... in results.
struct SampleRequest {
  GroupId group;
  int32_t sample_base = 0;
  int32_t samples = 1;
  std::vector<int32_t> prompt;
  SamplingParams params;
};

enum class OnUpdate : uint8_t { kKeep, kReread };

struct FinishedSequence {
  SequenceId id;
  Rollout rollout;             // spans, stop, group, sample, temperature; completion text is the caller's business
};

struct EngineStats {
  int64_t decode_steps = 0, decoded_tokens = 0, prompt_tokens = 0, reread_tokens = 0;
  int64_t live = 0, waiting = 0, slots = 0, state_bytes = 0;
};

// A version packed for one engine; immutable, shared by pointer, freed when its last reader ends.
class PreparedVersion {
 public:
  virtual ~PreparedVersion() = default;
  virtual VersionId id() const = 0;
};
using PreparedVersionPtr = std::shared_ptr<const PreparedVersion>;

class Engine {
 public:
  virtual ~Engine() = default;
  // Packs a version, off the sampler's thread; reads its tensors before it returns and never afterwards. Thread-safe.
  virtual StatusOr<PreparedVersionPtr> Prepare(WeightVersionPtr version) = 0;
  // Queues a request; admitted in the order of Submit as slots become free. Errors: prompt empty or longer than the
  // context allows, token ids outside the vocabulary, a request that can never fit the slot budget.
  virtual StatusOr<std::vector<SequenceId>> Submit(const SampleRequest& request) = 0;
  // Appends inserted tokens to a finished-but-kept sequence and samples on (multi-turn). Error: unknown or not kept.
  virtual Status Extend(SequenceId id, const std::vector<int32_t>& inserted, const SamplingParams& params) = 0;
  // A new sequence that continues from the state of `id` as it is now.
  virtual StatusOr<SequenceId> Fork(SequenceId id, int32_t sample) = 0;
  // Ends a sequence with stop reason cancelled at the next step; thread-safe; unknown ids are ignored.
  virtual void Cancel(SequenceId id) = 0;
  // Keeps a finished sequence's state for Extend and Fork until Release.
  virtual Status Keep(SequenceId id) = 0;
  virtual void Release(SequenceId id) = 0;
  // Takes new weights before the next decode step (between two steps); `on_update` as in DESIGN section 2.
  // Null: lets go of the weights, as before the first Update.
  virtual Status Update(PreparedVersionPtr version, OnUpdate on_update) = 0;
  virtual VersionId version() const = 0;
  // Admits, prefills and decodes one token for every live sequence. Returns what finished, in the order of (group, sample).
  // An empty engine returns at once.
  virtual StatusOr<std::vector<FinishedSequence>> Step() = 0;
  virtual bool idle() const = 0;   // nothing live, nothing waiting
  virtual EngineStats stats() const = 0;
};

}  // namespace volery::data
