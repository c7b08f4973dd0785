#pragma once
// Causal attention of a packed training batch: each segment attends to itself causally and to all tokens of
// its parent, its parent's parent and so on. Segments of one parent and similar length are computed together;
// no [T, T] mask is made.
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
  // `segments`: ascending and disjoint, covering [0, tokens). Throws std::invalid_argument otherwise.
  SegmentAttention(const std::vector<SegmentRange>& segments, int64_t tokens, at::ScalarType dtype,
                   at::Device device);
  // q [T, heads, head_dim], k and v [T, kv_heads, head_dim] -> [T, heads * head_dim]; differentiable.
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) const;

 private:
  // Segments of equal ancestors, padded on the right to `length` rows each.
  struct Group {
    int64_t count = 0, length = 0, prefix = 0;
    at::Tensor mask;  // [length, prefix + length]; undefined where plain causal
  };
  std::vector<Group> groups_;
  at::Tensor query_rows_, key_rows_, output_rows_;  // undefined: as they are
};

}  // namespace volery::nn
