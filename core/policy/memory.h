#pragma once
// How much memory a run needs, part by part: what `volery plan` prints. An estimate from shapes alone,
// nothing is allocated; allocator overhead is not counted.

#include <cstdint>
#include <string>
#include <vector>

namespace volery::policy {

struct MemoryQuestion {
  int64_t parameters = 0;       // elements of all weights
  int64_t frozen = 0;           // of them that don't train: no gradient, no moments
  int64_t vocabulary_rows = 0;  // of the head
  int64_t layers = 0, width = 0;
  int64_t saved_elements = 0;  // of a token and block, for the backward pass; 0: a guess from the width
  bool checkpointed = false;   // blocks are computed again in the backward pass
  bool trains = true;          // false: generate, score
  bool reference = false;      // a frozen copy for the KL term
  int64_t program_bytes = 0;   // of the process before it opens anything
  int64_t master_bytes = 4;    // of an element of the trainer's weights
  int64_t compute_bytes = 4;   // of an element of activations; 2: a bfloat16 copy of the weights too
  int64_t sampler_bytes = 4;   // of an element of prepared weights
  bool takes_turns =
      false;  // staleness 0: the sampler rests, without packed weights, while the trainer works
  int64_t slots = 0, slot_tokens = 0;  // decode state at its largest
  int64_t state_bytes_per_slot = 0, state_bytes_per_token = 0, state_bytes_shared = 0;
  int64_t batch_tokens = 0;  // of a micro-batch
  int64_t logits_rows = 0;   // of the sampler
  int64_t head_rows = 0;     // of a slice of the trainer's head
};

struct MemoryItem {
  std::string label;  // "master weights (float32)"
  int64_t bytes = 0;
};

// Parts that are 0 are left out. The last item is the peak, labelled "total": not all parts stand at once.
// The trainer either computes or packs a version, and at staleness 0 only one side has its parts.
std::vector<MemoryItem> EstimateMemory(const MemoryQuestion& question);

// "1.25 GiB", "310 MiB", "12 KiB".
std::string BytesText(int64_t bytes);

}  // namespace volery::policy
