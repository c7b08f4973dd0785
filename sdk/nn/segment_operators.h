#pragma once
// Attention of packed segments by LibTorch's operators: for devices and dtypes without kernels.

#include <ATen/core/Tensor.h>

#include <vector>

#include "volery/nn/segment_attention.h"

namespace volery::nn {

// Tokens of `parent`, its parent and so on, the oldest first.
std::vector<int64_t> AncestorTokens(const std::vector<SegmentRange>& segments, int64_t parent);

// Segments of one parent and similar length are computed together, padded; no [T, T] mask is made.
class SegmentOperators {
 public:
  SegmentOperators(const std::vector<SegmentRange>& segments, int64_t tokens, at::ScalarType dtype,
                   at::Device device);
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
