#pragma once
// RWKV's token shift (Peng et al., arXiv 2404.05892, equations 3 to 5 and 14): each stream of a layer takes a
// share of the previous token's row, z + (z' - z) (mu + m). On a CPU, in float32 and bfloat16, one kernel
// serves training and sampling; elsewhere LibTorch's operators.
//
//   TokenShift shift(segments, tokens);                                 // once a batch
//   auto mixed = shift.Mix(z, {{mu_k, {}}, {mu_r, {}}}, MuOf::kBefore, {});  // every layer

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "volery/nn/export.h"
#include "volery/nn/segment_attention.h"

namespace volery::nn {

// mu: W elements of any shape, in z's dtype; m [T, W] what is added to it at each token, or undefined.
struct MixStream {
  at::Tensor mu, m;
};
// What mu is the share of: the previous token (RWKV-6), or the current one (RWKV-5: 1 - mu in its place).
enum class MuOf { kBefore, kCurrent };

class VOLERY_NN_EXPORT TokenShift {
 public:
  struct Plan;
  // `segments` as in segment_attention.h: a child's first token follows its parent's last.
  TokenShift(const std::vector<SegmentRange>& segments, int64_t tokens);
  TokenShift(const TokenShift&);
  TokenShift(TokenShift&&) noexcept;
  ~TokenShift();
  // z [T, W] -> a [T, W] for each of at most 8 streams. initial [segments, W]: the row before each segment
  // that has no parent; undefined: zeros. Differentiable in z, mu, m and initial; the gradient of mu is added
  // in place, row after row, where there is one already.
  std::vector<at::Tensor> Mix(const at::Tensor& z, const std::vector<MixStream>& streams, MuOf of,
                              const at::Tensor& initial) const;

 private:
  c10::intrusive_ptr<Plan> plan_;
};

// For sampling, no autograd: rows of z [R, W] are counts[0] tokens of a first slot, then counts[1] of a second
// ...; states[i] [W], in z's dtype, is the row before slot i's first, and becomes its last.
VOLERY_NN_EXPORT std::vector<at::Tensor> MixSlots(const at::Tensor& z, std::span<const int64_t> counts,
                                                  std::span<const at::Tensor> states,
                                                  const std::vector<MixStream>& streams, MuOf of);
// Only the states' part of MixSlots: for a layer that mixes the same rows twice, the first time with
// PeekSlots, which leaves the states alone.
VOLERY_NN_EXPORT std::vector<at::Tensor> PeekSlots(const at::Tensor& z, std::span<const int64_t> counts,
                                                   std::span<const at::Tensor> states,
                                                   const std::vector<MixStream>& streams, MuOf of);

// Rows that each have their own row before them: before [R, W], in z's dtype.
VOLERY_NN_EXPORT std::vector<at::Tensor> MixRows(const at::Tensor& z, const at::Tensor& before,
                                                 const std::vector<MixStream>& streams, MuOf of);

}  // namespace volery::nn
