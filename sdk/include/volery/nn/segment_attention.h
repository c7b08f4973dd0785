#pragma once
// Causal attention of a packed training batch: each segment attends to itself causally and to all tokens of
// its parent, its parent's parent and so on. On a CPU, in float32 and bfloat16, a token's result has the bits
// that SlotCache gives for it when it is decoded, and its gradients don't depend on the other sequences of
// the batch.
//
//   SegmentAttention attention(segments, at::kFloat, device);   // once a batch
//   at::Tensor y = attention.Attend(q, k, v, scale);            // every layer

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

struct SegmentRange {
  int64_t begin = 0, end = 0;
  int64_t parent = -1;  // index of an earlier segment, or -1
};

class VOLERY_NN_EXPORT SegmentAttention {
 public:
  struct Plan;
  // `segments`: ascending and disjoint, covering [0, tokens). Throws std::invalid_argument otherwise.
  SegmentAttention(const std::vector<SegmentRange>& segments, int64_t tokens, at::ScalarType dtype,
                   at::Device device);
  SegmentAttention(const SegmentAttention&);
  SegmentAttention(SegmentAttention&&) noexcept;
  ~SegmentAttention();
  // q [T, heads, head_dim], k and v [T, kv_heads, head_dim] -> [T, heads * head_dim]; differentiable.
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) const;

 private:
  c10::intrusive_ptr<Plan> plan_;
};

}  // namespace volery::nn
