#pragma once
// What the compressed caches remember between steps, for all slots together. Of a past token's keys and values
// much depends on the token alone (its part of the proto-key's product) or on it and the one before (the values
// of every GOLD layer, and what mixes its keys): such rows are made once and found again, as far as there is
// room. Rows of other weights are forgotten. Not thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "config.h"

namespace volery::goldfinch {

// Numbered rows by key; each row has parts of several widths, which lie in a tensor of their own each.
class RowMemo {
 public:
  RowMemo(std::vector<int64_t> widths, at::ScalarType dtype, at::Device device);
  // The number of each key's row; -1: not remembered, and no room for it. `make` is given the positions of keys
  // that are new (each once, at most kBatch of them at a time) and gives their rows, a tensor for each part.
  std::vector<int64_t> Find(
      std::span<const uint64_t> keys, int64_t most_rows,
      const std::function<std::vector<at::Tensor>(std::span<const int64_t> positions)>& make);
  // Rows of a part by number, [n, width]: index [n] int64 on the memo's device.
  at::Tensor Rows(size_t part, const at::Tensor& index) const { return parts_[part].index_select(0, index); }
  int64_t size() const { return static_cast<int64_t>(numbers_.size()); }
  bool full() const { return full_; }  // there was no room for a key
  int64_t row_bytes() const;
  int64_t bytes() const;
  void Forget();

  static constexpr int64_t kBatch = 256;

 private:
  void Reserve(int64_t rows, int64_t most_rows);
  std::vector<int64_t> widths_;
  at::ScalarType dtype_;
  at::Device device_;
  bool full_ = false;
  std::unordered_map<uint64_t, int64_t> numbers_;
  std::vector<at::Tensor> parts_;  // [capacity, width]
};

struct Memo {
  // most_bytes: what the rows may grow to; while they grow, one part has its old rows beside the new ones, and each
  // row some 50 bytes in the index.
  Memo(const Config& config, at::ScalarType dtype, at::Device device, int64_t most_bytes);
  // Before a step: what other weights made is forgotten, and, where there was no room, all, now and then, so that
  // what finished slots left gives way to new.
  void Begin(int64_t weights);
  int64_t most_tokens() const;  // rows that may be remembered now; tokens take half at most
  int64_t most_pairs() const;
  int64_t bytes() const { return tokens.bytes() + pairs.bytes(); }

  RowMemo tokens;  // by token: TokenPart, [W], float32
  RowMemo pairs;   // by PairKey: of each GOLD layer the keys' mix before its last product [R], and the values [W]

 private:
  int64_t most_bytes_, weights_ = -1, steps_ = 0;
};

at::Tensor IndexTensor(std::span<const int64_t> list, at::Device device);

// Before the first token there is none: -1.
inline uint64_t PairKey(int64_t before, int64_t token) {
  return static_cast<uint64_t>(before + 1) << 32 | static_cast<uint64_t>(token);
}

}  // namespace volery::goldfinch
