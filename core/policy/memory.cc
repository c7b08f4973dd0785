#include "core/policy/memory.h"

#include <algorithm>
#include <cstdio>

#include "core/base/status.h"

namespace volery::policy {
namespace {

const char* ElementName(int64_t bytes) {
  return bytes == 8 ? "float64" : bytes == 4 ? "float32" : "bfloat16";
}

// Kept for the backward pass: of every block, or of one and every block's input.
int64_t ActivationBytes(const MemoryQuestion& q) {
  const int64_t block = q.saved_elements > 0 ? q.saved_elements : 22 * q.width;
  return q.batch_tokens * q.compute_bytes * (q.checkpointed ? q.layers * q.width + block : q.layers * block);
}

}  // namespace

std::vector<MemoryItem> EstimateMemory(const MemoryQuestion& q) {
  std::vector<MemoryItem> items;
  const auto add = [&items](const std::string& label, int64_t bytes) {
    if (bytes > 0) items.push_back({label, bytes});
  };
  add("the program and its libraries", q.program_bytes);
  const int64_t master = q.parameters * q.master_bytes;
  const int64_t prepared = q.parameters * q.sampler_bytes;
  add(Cat(q.trains ? "master weights (" : "weights as read (", ElementName(q.master_bytes), ")"), master);
  if (q.trains) {
    add(Cat("gradients (", ElementName(q.master_bytes), ")"), master);
    add("Adam's moments (2 a parameter)", 2 * master);
    add("weights to compute with (bfloat16)", q.compute_bytes == 2 ? 2 * q.parameters : 0);
    add("frozen reference weights", q.reference ? master : 0);
    add(Cat("activations of a micro-batch of ", q.batch_tokens, " tokens"), ActivationBytes(q));
  }
  const int64_t copies = q.slots == 0 ? 0 : q.trains ? q.prepared : 1;
  add(Cat("prepared weights of the sampler (", copies, ", ", ElementName(q.sampler_bytes), ")"),
      copies * prepared);
  add(Cat("decode state of ", q.slots, " slots x ", q.slot_tokens, " tokens"),
      q.slots * (q.state_bytes_per_slot + q.slot_tokens * q.state_bytes_per_token));
  add(Cat("logits of ", q.logits_rows, " rows"), 2 * q.logits_rows * q.vocabulary_rows * 4);
  int64_t total = 0;
  for (const MemoryItem& item : items) total += item.bytes;
  items.push_back({"total", total});
  return items;
}

std::string BytesText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit < 3 ? "%.0f %s" : "%.2f %s", value, kUnits[unit]);
  return text;
}

}  // namespace volery::policy
