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
  const auto list = [&items](std::initializer_list<MemoryItem> parts) {
    int64_t sum = 0;
    for (const MemoryItem& part : parts) {
      if (part.bytes > 0) items.push_back(part);
      sum += part.bytes;
    }
    return sum;
  };
  const int64_t master = q.parameters * q.master_bytes, training = q.trains ? 1 : 0;
  const int64_t gradients = training * (q.parameters - q.frozen) * q.master_bytes;
  const int64_t both = list(
      {{"the program and its libraries", q.program_bytes},
       {Cat(q.trains ? "master weights (" : "weights as read (", ElementName(q.master_bytes), ")"), master},
       {Cat("gradients (", ElementName(q.master_bytes), ")"), gradients},
       {"Adam's moments (2 a parameter)", 2 * gradients},
       {"weights to compute with (bfloat16)", q.compute_bytes == 2 ? training * 2 * q.parameters : 0},
       {"frozen reference weights", q.reference ? training * master : 0},
       {"what the sampler remembers for all slots", q.slots == 0 ? 0 : q.state_bytes_shared}});
  const int64_t trainer = list(
      {{Cat("activations of a micro-batch of ", q.batch_tokens, " tokens"), training * ActivationBytes(q)},
       {Cat("logits of ", q.head_rows, " rows of the trainer"),
        training * q.head_rows * q.vocabulary_rows * q.compute_bytes}});
  const int64_t packed = q.slots == 0 ? 0 : q.parameters * q.sampler_bytes;
  const int64_t sampler = list(
      {{Cat("prepared weights of the sampler (", ElementName(q.sampler_bytes), ")"), packed},
       {Cat("decode state of ", q.slots, " slots x ", q.slot_tokens, " tokens"),
        q.slots * (q.state_bytes_per_slot + q.slot_tokens * q.state_bytes_per_token)},
       {Cat("logits of ", q.logits_rows, " rows of the sampler"), q.logits_rows * q.vocabulary_rows * 4}});
  const int64_t next = q.takes_turns ? 0 : list({{"the next version's, being packed", training * packed}});
  items.push_back(
      {"total", both + (q.takes_turns ? std::max(trainer, sampler) : sampler + std::max(trainer, next))});
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
