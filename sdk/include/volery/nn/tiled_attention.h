#pragma once
// Attention of a few queries over keys and values that come tile by tile, so that they need not all be there
// at once: made again from something smaller, say. On a CPU, in float32 and bfloat16, the bits are those of
// SlotCache::Attend over the same keys and values.
//
//   TiledAttention attention(q, heads, seen, scale);
//   for (tiles of kTile positions, in order) attention.Add(k, v);
//   at::Tensor y = attention.Result();

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

class VOLERY_NN_EXPORT TiledAttention {
 public:
  static constexpr int64_t kTile = 256;
  // q [M, heads * head_dim]; row i attends to the first seen[i] (above 0) positions. `plain`: by LibTorch.
  TiledAttention(const at::Tensor& q, int64_t heads, std::vector<int64_t> seen, double scale,
                 bool plain = false);
  // The next positions, [n, heads * head_dim] both; n a multiple of 64 but for the last ones.
  void Add(const at::Tensor& k, const at::Tensor& v);
  // [M, heads * head_dim]. Throws std::invalid_argument where a row has not seen all that it should.
  at::Tensor Result() const;

 private:
  void AddByKernel(const at::Tensor& k, const at::Tensor& v);
  void AddByAten(const at::Tensor& k, const at::Tensor& v);

  at::Tensor q_, out_;
  int64_t heads_, dim_, base_ = 0;
  std::vector<int64_t> seen_;
  double scale_;
  bool kernels_;
  std::vector<float> scratch_;        // of each head and row
  at::Tensor largest_, total_, sum_;  // by LibTorch: [heads, M, 1], [heads, M, 1], [heads, M, head_dim]
};

}  // namespace volery::nn
