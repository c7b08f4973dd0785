#pragma once
// RWKV's recurrence with matrix-valued state (Peng et al., arXiv 2404.05892, equations 15 to 19; Finch-C2:
// arXiv 2407.12077, equations 8 to 11). Each head has a state S [N, N] (key by value); for each token
//   w = exp(-exp(decay)),   y = S^T r + (r . (u * k)) v,   S = diag(w) S + k v^T:
// the state is read before the token enters it. On a CPU, in float32 and bfloat16, one sequential scan with
// the state in float32 serves training, prefill and decode, and has the same bits for any cut into calls;
// elsewhere (float64, other devices) a chunked form by LibTorch's operators.
//
//   WkvSegments segments(ranges, tokens);                        // once a batch
//   at::Tensor y = segments.Scan({r, k, v, decay, u}, heads, {});  // every layer

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "volery/nn/export.h"
#include "volery/nn/segment_attention.h"

namespace volery::nn {

constexpr int64_t kMaxWkvHeadSize = 128;

struct WkvInputs {
  at::Tensor r, k, v;      // [T, heads * N] of one dtype; N a multiple of 16, at most kMaxWkvHeadSize
  at::Tensor decay;        // before the two exponentials: [T, heads * N], or heads * N elements for all tokens
                           // (RWKV-5); of any floating dtype, widened exactly
  at::Tensor u;            // heads * N elements, of any floating dtype; undefined: no bonus
  bool scale_key = false;  // k (1 - w) in place of k (Finch-C2)
};

class VOLERY_NN_EXPORT WkvSegments {
 public:
  struct Plan;
  // `segments` as in segment_attention.h: a child begins with the state that its parent ends with.
  WkvSegments(const std::vector<SegmentRange>& segments, int64_t tokens);
  WkvSegments(const WkvSegments&);
  WkvSegments(WkvSegments&&) noexcept;
  ~WkvSegments();
  // initial [segments, heads, N, N]: the state that each segment without a parent begins with; undefined:
  // zeros. -> y [T, heads * N] in r's dtype. Differentiable in all inputs and initial; the gradients of u and
  // of a constant decay are added in place, segment after segment, where there are some already. `final`, if
  // given, receives the states after each segment, [segments, heads, N, N], without a gradient.
  at::Tensor Scan(const WkvInputs& in, int64_t heads, const at::Tensor& initial,
                  at::Tensor* final = nullptr) const;

 private:
  c10::intrusive_ptr<Plan> plan_;
};

// For sampling, no autograd: rows are counts[0] tokens of a first slot, then counts[1] of a second ...;
// states[i] [heads, N, N] float32, contiguous, is slot i's and is updated. -> y [R, heads * N].
VOLERY_NN_EXPORT at::Tensor WkvSlots(const WkvInputs& in, int64_t heads, std::span<const int64_t> counts,
                                     std::span<const at::Tensor> states);

// One sequence in chunks by LibTorch's operators, differentiable, on any device and in any floating dtype.
// Exact for any decay: every exponent in it is at most 0. initial [heads, N, N] or undefined; `final` receives
// the state after the last token, with its gradient.
VOLERY_NN_EXPORT at::Tensor WkvChunked(const WkvInputs& in, int64_t heads, const at::Tensor& initial,
                                       at::Tensor* final = nullptr);

}  // namespace volery::nn
