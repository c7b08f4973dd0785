#include "core/policy/memory.h"

#include <gtest/gtest.h>

namespace volery::policy {
namespace {

int64_t Of(const std::vector<MemoryItem>& items, const std::string& start) {
  for (const MemoryItem& item : items) {
    if (item.label.starts_with(start)) return item.bytes;
  }
  return 0;
}

TEST(Memory, CountsEveryCopy) {
  MemoryQuestion q;
  q.parameters = 1000;
  q.vocabulary_rows = 50;
  q.layers = 2;
  q.width = 10;
  q.sampler_bytes = 2;
  q.slots = 4;
  q.slot_tokens = 100;
  q.state_bytes_per_slot = 8;
  q.state_bytes_per_token = 16;
  const auto items = EstimateMemory(q);
  EXPECT_EQ(Of(items, "master weights (float32)"), 4000);
  EXPECT_EQ(Of(items, "gradients (float32)"), 4000);
  EXPECT_EQ(Of(items, "Adam"), 8000);
  EXPECT_EQ(Of(items, "prepared weights of the sampler (bfloat16)"), 2 * 1000);
  EXPECT_EQ(Of(items, "the next version's"), 2 * 1000);
  EXPECT_EQ(Of(items, "decode state of 4 slots x 100 tokens"), 4 * (8 + 1600));
  EXPECT_EQ(Of(items, "frozen"), 0);
  EXPECT_EQ(items.back().label, "total");
  int64_t sum = 0;
  for (const MemoryItem& item : items) sum += item.label == "total" ? 0 : item.bytes;
  EXPECT_EQ(items.back().bytes, sum);
  q.frozen = 900;
  EXPECT_EQ(Of(EstimateMemory(q), "master weights (float32)"), 4000);
  EXPECT_EQ(Of(EstimateMemory(q), "gradients (float32)"), 400);
  EXPECT_EQ(Of(EstimateMemory(q), "Adam"), 800);
  q.frozen = 0;
  q.reference = true;
  EXPECT_EQ(Of(EstimateMemory(q), "frozen reference"), 4000);
  q.trains = false;
  EXPECT_EQ(Of(EstimateMemory(q), "Adam"), 0);
  EXPECT_EQ(Of(EstimateMemory(q), "prepared weights of the sampler (bfloat16)"), 2 * 1000);
  EXPECT_EQ(Of(EstimateMemory(q), "the next version's"), 0);
}

TEST(Memory, ActivationsOfBlocks) {
  MemoryQuestion q{.parameters = 100, .layers = 3, .width = 10, .saved_elements = 70, .batch_tokens = 5};
  EXPECT_EQ(Of(EstimateMemory(q), "activations of a micro-batch of 5 tokens"), 5 * 3 * 70 * 4);
  q.checkpointed = true;
  EXPECT_EQ(Of(EstimateMemory(q), "activations"), 5 * (3 * 10 + 70) * 4);
  q.compute_bytes = 2;
  EXPECT_EQ(Of(EstimateMemory(q), "activations"), 5 * (3 * 10 + 70) * 2);
  EXPECT_EQ(Of(EstimateMemory(q), "weights to compute with"), 2 * 100);
}

TEST(Memory, PartsThatDontStandAtOnceCountOnce) {
  MemoryQuestion q{
      .parameters = 100, .layers = 1, .width = 10, .saved_elements = 100, .slots = 2, .batch_tokens = 50};
  const auto total = [&q] { return EstimateMemory(q).back().bytes; };
  EXPECT_EQ(total(),
            1600 + 400 + 50 * 100 * 4);  // weights, gradients and moments; the sampler's; activations
  q.takes_turns = true;
  EXPECT_EQ(total(), 1600 + 50 * 100 * 4);
  q.batch_tokens = 0;
  EXPECT_EQ(total(), 1600 + 400);
  q.takes_turns = false;
  EXPECT_EQ(total(), 1600 + 400 + 400);  // while the next version is packed
}

TEST(Memory, BytesForPeople) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(12 << 10), "12 KiB");
  EXPECT_EQ(BytesText(310ll << 20), "310 MiB");
  EXPECT_EQ(BytesText(5ll << 28), "1.25 GiB");
}

}  // namespace
}  // namespace volery::policy
