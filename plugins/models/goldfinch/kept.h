#pragma once
// GOLD layers of a slot that keeps no keys and values, but what they are made of: its tokens, and their
// proto-keys or compressed keys. For the length of one call of Advance.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "config.h"
#include "layers.h"
#include "memo.h"
#include "state.h"

namespace volery::goldfinch {

class KeptSlot {
 public:
  // All tokens of the slot, [T], and their rows as `mode` keeps them; `embeddings`: the normed ones, [V, W].
  KeptSlot(const Config& config, const Ends& ends, const std::vector<Layer>& layers, const at::Tensor& embeddings,
           Memo& memo, CacheMode mode, const at::Tensor& tokens, const at::Tensor& rows);
  // Queries of the last tokens, [M, W], over keys and values of all; `rotary`: of all positions.
  at::Tensor Attend(const Layer& layer, const at::Tensor& q, const nn::RotaryRows& rotary, double scale) const;

 private:
  // Numbers of remembered rows, [T]; where there is none, any number, and the position is among the missing.
  struct Remembered {
    at::Tensor index;
    std::vector<int64_t> missing;  // ascending
    Remembered() = default;
    Remembered(std::vector<int64_t> numbers, at::Device device);
    // The missing ones of positions [begin, begin + count), counted from `begin`.
    std::vector<int64_t> MissingIn(int64_t begin, int64_t count) const;
  };
  struct Pairs {
    at::Tensor embedded, before;  // unit embeddings of tokens and of those before them, [n, W]
  };

  at::Tensor ProtoKeysOf(const Ends& ends, const at::Tensor& compressed) const;
  at::Tensor Embedded(std::span<const int64_t> positions, int64_t shift) const;
  Pairs PairsAt(std::span<const int64_t> positions) const;
  GoldPairs Made(const Layer& layer, const Pairs& pairs) const;
  GoldPairs PairsOfTile(const Layer& layer, int64_t begin, int64_t count) const;

  const Config& c_;
  const at::Tensor& embeddings_;
  Memo& memo_;
  std::vector<int64_t> tokens_;
  at::Tensor proto_keys_;  // [T, W]
  Remembered pairs_;
};

}  // namespace volery::goldfinch
