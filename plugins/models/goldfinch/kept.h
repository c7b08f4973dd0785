#pragma once
// GOLD layers of a slot that keeps no keys and values, but what they are made of: its tokens, and their
// proto-keys or compressed keys. For the length of one call of Advance.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "config.h"
#include "layers.h"
#include "memo.h"
#include "state.h"

namespace volery::goldfinch {

class KeptSlot {
 public:
  // All tokens of the slot, [T], and their rows as `mode` keeps them; `embeddings`: the normed ones, [V, W].
  KeptSlot(const Config& config, const Ends& ends, const at::Tensor& embeddings, Memo& memo, CacheMode mode,
           const at::Tensor& tokens, const at::Tensor& rows, const std::vector<Layer>& layers);
  // Queries of the last tokens, [M, W], over keys and values of all; `rotary`: of all positions.
  at::Tensor Attend(const Layer& layer, const at::Tensor& q, const nn::RotaryRows& rotary, double scale) const;

 private:
  at::Tensor ProtoKeysOf(const Ends& ends, const at::Tensor& compressed);
  GoldPairs PairsAt(const Layer& layer, const std::vector<int64_t>& positions) const;
  GoldPairs PairsOfTile(const Layer& layer, int64_t begin, int64_t count) const;
  at::Tensor Embedded(const std::vector<int64_t>& positions, int64_t shift) const;

  const Config& c_;
  const at::Tensor& embeddings_;
  Memo& memo_;
  std::vector<int64_t> tokens_;   // T
  std::vector<int64_t> pairs_;    // of each token: its row in memo.pairs, or -1
  at::Tensor proto_keys_;         // [T, W]
};

}  // namespace volery::goldfinch
