#pragma once
// Keys and values of all decode slots of one engine, and attention over them. Each slot's memory is
// contiguous and grows as needed. A row's result depends on that row and its slot only: prompt chunks and
// single tokens take the same path. Not thread-safe.
//
//   auto cache = SlotCache::Make({.layers = 30, .heads = 9, .kv_heads = 3, .head_dim = 64}, at::kFloat,
//   device); int64_t slot = cache->Allocate(200); for (layer ...) out = cache->Attend(layer, {{slot, 1}},
//   qkv, scale); cache->Commit({{slot, 1}});

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

struct CacheShape {
  int64_t layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
};

// `rows` consecutive tokens to be read into `slot`.
struct SlotRows {
  int64_t slot = 0, rows = 0;
};

class VOLERY_NN_EXPORT SlotCache {
 public:
  // dtype float32 or bfloat16. On a CPU the own kernels; elsewhere, or when `plain` is set, LibTorch's
  // attention. Throws std::invalid_argument for a shape that the kernels can't hold (head_dim above 512).
  static std::unique_ptr<SlotCache> Make(const CacheShape& shape, at::ScalarType dtype, at::Device device,
                                         bool plain = false);
  static int64_t BytesPerToken(const CacheShape& shape, at::ScalarType dtype);
  static int64_t BytesPerSlot(const CacheShape& shape, at::ScalarType dtype);  // what rounding may add
  virtual ~SlotCache() = default;

  int64_t Allocate(int64_t expected_tokens);
  int64_t Fork(int64_t slot, int64_t expected_tokens);
  void Drop(int64_t slot);
  void Clear(int64_t slot);
  int64_t Length(int64_t slot) const;
  int64_t bytes() const;

  // Makes room for `rows` more tokens in each slot; before the first layer of a call.
  void Reserve(std::span<const SlotRows> rows);
  // Stores the new tokens' keys and values of `layer` and attends. qkv [N, (heads + 2 kv_heads) * head_dim]
  // holds queries, keys and values of all new rows in the order of `rows`, rotary applied -> [N, heads *
  // head_dim].
  at::Tensor Attend(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& qkv, double scale);
  // The two steps of Attend apart, for models in which not every token has a query. Store: k and v [N, kv_heads
  // * head_dim] of all new rows. AttendLast, after it: q [M, heads * head_dim] holds queries of the last
  // queries[i] of rows[i] -> [M, heads * head_dim]. Rows may have gaps between them (a part of each row of qkv).
  virtual void Store(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& k, const at::Tensor& v) = 0;
  virtual at::Tensor AttendLast(int64_t layer, std::span<const SlotRows> rows, std::span<const int64_t> queries,
                                const at::Tensor& q, double scale) = 0;
  // After the last layer: the slots' lengths grow. A call that throws before leaves them as they were.
  void Commit(std::span<const SlotRows> rows);

 protected:
  struct Slot {
    bool used = false;
    int64_t length = 0, capacity = 0;
    at::Tensor data;  // one allocation; layout is the subclass's
  };
  SlotCache(const CacheShape& shape, at::ScalarType dtype, at::Device device)
      : shape_(shape), dtype_(dtype), device_(device) {}
  Slot& Used(int64_t slot);
  const Slot& Used(int64_t slot) const;
  virtual at::Tensor NewData(int64_t capacity) const = 0;
  virtual void CopyTokens(const Slot& from, Slot& to, int64_t tokens) const = 0;

  CacheShape shape_;
  at::ScalarType dtype_;
  at::Device device_;
  std::vector<Slot> slots_;

 private:
  void Grow(Slot& slot, int64_t tokens);
};

}  // namespace volery::nn
