#include "volery/nn/slot_states.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

namespace volery::nn {
namespace {

const std::vector<StatePart> kParts = {{"states", {2, 3}, at::kFloat}, {"rows", {4}, at::kBFloat16}};

TEST(SlotStates, KeepsSlotsApart) {
  SlotStates slots(kParts, at::kCPU);
  EXPECT_EQ(SlotStates::Bytes(kParts), 2 * 3 * 4 + 4 * 2);
  EXPECT_EQ(slots.bytes(), 0);
  const int64_t a = slots.Allocate();
  slots.Get(a, 0).fill_(3);
  slots.Grow(a, 7);
  const int64_t b = slots.Fork(a), c = slots.Allocate();
  EXPECT_EQ(slots.bytes(), 3 * SlotStates::Bytes(kParts));
  slots.Get(b, 0).add_(1);
  EXPECT_EQ(slots.Get(a, 0).sum().item<double>(), 18);
  EXPECT_EQ(slots.Get(b, 0).sum().item<double>(), 24);
  EXPECT_EQ(slots.Get(c, 0).sum().item<double>(), 0);
  EXPECT_EQ(slots.Length(b), 7);
  slots.Clear(b);
  EXPECT_EQ(slots.Length(b), 0);
  EXPECT_EQ(slots.Get(b, 0).abs().max().item<double>(), 0);
  slots.Drop(a);
  EXPECT_THROW(slots.Length(a), std::invalid_argument);
  EXPECT_THROW(slots.Get(99, 0), std::invalid_argument);
  EXPECT_EQ(slots.Allocate(), a);  // its place is used again
  EXPECT_EQ(slots.Get(a, 0).abs().max().item<double>(), 0);
}

// An engine makes and reads slots in inference mode, and clears them outside of it.
TEST(SlotStates, MayBeChangedInAndOutsideOfInferenceMode) {
  SlotStates slots(kParts, at::kCPU);
  int64_t made = 0, forked = 0;
  {
    const c10::InferenceMode inference;
    made = slots.Allocate();
    slots.Get(made, 0).fill_(2);
    forked = slots.Fork(made);
  }
  EXPECT_NO_THROW(slots.Clear(made));
  EXPECT_NO_THROW(slots.Get(forked, 0).add_(1));
  const c10::InferenceMode inference;
  EXPECT_NO_THROW(slots.Get(forked, 0).add_(1));
  EXPECT_NO_THROW(slots.Clear(forked));
}

}  // namespace
}  // namespace volery::nn
