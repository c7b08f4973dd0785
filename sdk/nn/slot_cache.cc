#include "volery/nn/slot_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "parallel.h"

namespace volery::nn {
namespace {

using kernels::kPanel;
using kernels::ValueStride;

// Elements of one layer's keys and values of one head, a position.
int64_t ElementsPerHead(const CacheShape& shape) {
  return shape.head_dim + ValueStride(shape.head_dim);
}

// Layout of a slot: [layer][kv head]{keys in panels: capacity * head_dim; values: capacity * value stride}.
class KernelCache final : public SlotCache {
 public:
  KernelCache(const CacheShape& shape, at::ScalarType dtype, at::Device device)
      : SlotCache(shape, dtype, device) {}

  void Store(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& k,
             const at::Tensor& v) override {
    const std::vector<Row> all = ListRows(rows);
    const int64_t dim = shape_.head_dim, count = static_cast<int64_t>(all.size());
    CheckRows(k, count, shape_.kv_heads);
    CheckRows(v, count, shape_.kv_heads);
    const kernels::Table& table = TableFor(ElementOf(k));
    ParallelRows(count * shape_.kv_heads, 10 * dim, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const int64_t n = t / shape_.kv_heads, head = t % shape_.kv_heads;
        const Row& row = all[n];
        table.append(At(k, n * k.stride(0) + head * dim), At(v, n * v.stride(0) + head * dim),
                     Keys(*row.slot, layer, head), Values(*row.slot, layer, head), row.position, dim);
      }
    });
  }

  at::Tensor AttendLast(int64_t layer, std::span<const SlotRows> rows, std::span<const int64_t> queries,
                        const at::Tensor& q, double scale) override {
    int64_t count = 0, positions = 0;
    for (size_t n = 0; n < rows.size(); n++) {
      count += queries[n];
      positions += queries[n] * (Used(rows[n].slot).length + rows[n].rows);
    }
    CheckRows(q, count, shape_.heads);
    const int64_t heads = shape_.heads, dim = shape_.head_dim, group = heads / shape_.kv_heads;
    at::Tensor out = at::empty({count, heads * dim}, q.options());
    const kernels::Table& table = TableFor(ElementOf(q));
    const std::vector<Tile> tiles = ListTiles(rows, queries, TileRows(count));
    const int64_t tasks = static_cast<int64_t>(tiles.size()) * shape_.kv_heads;
    const int64_t cost = positions * group * dim / 8 / std::max<int64_t>(1, tiles.size()) + 200;
    ParallelRows(tasks, cost, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const Tile& tile = tiles[t / shape_.kv_heads];
        const int64_t head = t % shape_.kv_heads, rows_here = static_cast<int64_t>(tile.seen.size());
        table.attend({.q = At(q, tile.first * q.stride(0) + head * group * dim),
                      .keys = Keys(*tile.slot, layer, head),
                      .values = Values(*tile.slot, layer, head),
                      .out = At(out, (tile.first * heads + head * group) * dim),
                      .scratch = ThreadScratch(0, kernels::AttendScratch(rows_here * group, dim)),
                      .seen = tile.seen.data(),
                      .rows = rows_here,
                      .q_row = q.stride(0),
                      .out_row = heads * dim,
                      .group = group,
                      .head_dim = dim,
                      .positions = tile.seen.back(),
                      .scale = static_cast<float>(scale),
                      .resumed = false});
      }
    });
    return out;
  }

 protected:
  at::Tensor NewData(int64_t capacity) const override {
    return at::empty({shape_.layers * shape_.kv_heads * capacity * ElementsPerHead(shape_)},
                     at::dtype(dtype_).device(device_));
  }

  void CopyTokens(const Slot& from, Slot& to, int64_t tokens) const override {
    const size_t size = at::elementSize(dtype_);
    const int64_t panels = (tokens + kPanel - 1) / kPanel;
    ParallelRows(shape_.layers * shape_.kv_heads, tokens * ElementsPerHead(shape_) / 4 + 100,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; i++) {
                     const int64_t layer = i / shape_.kv_heads, head = i % shape_.kv_heads;
                     std::memcpy(Keys(to, layer, head), Keys(from, layer, head),
                                 panels * kPanel * shape_.head_dim * size);
                     std::memcpy(Values(to, layer, head), Values(from, layer, head),
                                 tokens * ValueStride(shape_.head_dim) * size);
                   }
                 });
  }

 private:
  struct Row {
    const Slot* slot;
    int64_t position;
  };

  // Queries of consecutive tokens of one slot, which one task attends with.
  struct Tile {
    const Slot* slot;
    int64_t first;           // row of the call's q
    std::vector<long> seen;  // positions that each attends to
  };

  std::vector<Row> ListRows(std::span<const SlotRows> rows) const {
    std::vector<Row> out;
    for (const SlotRows& r : rows) {
      const Slot& slot = Used(r.slot);
      CheckRoom(slot, r);
      for (int64_t i = 0; i < r.rows; i++) out.push_back({&slot, slot.length + i});
    }
    return out;
  }

  // So many that keys and values are read once for as many queries as stay in cache, and no thread waits.
  int64_t TileRows(int64_t rows) const {
    constexpr int64_t kLeast = 16, kTasksPerThread = 4;
    const int64_t wanted = kTasksPerThread * CurrentPool().threads();
    return std::min<int64_t>(kernels::SegmentTokens(shape_.heads / shape_.kv_heads),
                             std::max(kLeast, rows * shape_.kv_heads / wanted));
  }

  std::vector<Tile> ListTiles(std::span<const SlotRows> rows, std::span<const int64_t> queries,
                              int64_t most) const {
    std::vector<Tile> out;
    int64_t first = 0;
    for (size_t n = 0; n < rows.size(); n++) {
      const Slot& slot = Used(rows[n].slot);
      CheckRoom(slot, rows[n]);
      const int64_t before = slot.length + rows[n].rows - queries[n];
      for (int64_t i = 0; i < queries[n]; i++) {
        if (i % most == 0) out.push_back({&slot, first + i, {}});
        out.back().seen.push_back(before + i + 1);
      }
      first += queries[n];
    }
    return out;
  }

  static void CheckRoom(const Slot& slot, const SlotRows& r) {
    TORCH_CHECK(slot.length + r.rows <= slot.capacity, "SlotCache: slot ", r.slot, " has no room for ",
                r.rows, " rows");
  }

  void CheckRows(const at::Tensor& x, int64_t rows, int64_t heads) const {
    TORCH_CHECK(x.dim() == 2 && x.size(0) == rows && x.size(1) == heads * shape_.head_dim && x.stride(1) == 1,
                "SlotCache: ", rows, " rows of ", heads, " heads, the tensor is ", x.sizes());
  }

  char* Keys(const Slot& slot, int64_t layer, int64_t head) const {
    return At(slot.data, (layer * shape_.kv_heads + head) * slot.capacity * ElementsPerHead(shape_));
  }
  char* Values(const Slot& slot, int64_t layer, int64_t head) const {
    return At(slot.data, (layer * shape_.kv_heads + head) * slot.capacity * ElementsPerHead(shape_) +
                             slot.capacity * shape_.head_dim);
  }
};

// Layout of a slot: [layer, 2, kv head, capacity, head_dim].
class AtenCache final : public SlotCache {
 public:
  AtenCache(const CacheShape& shape, at::ScalarType dtype, at::Device device)
      : SlotCache(shape, dtype, device) {}

  void Store(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& k,
             const at::Tensor& v) override {
    int64_t first = 0;
    for (const SlotRows& r : rows) {
      const Slot& slot = Used(r.slot);
      for (int64_t part : {0, 1})
        slot.data.select(0, layer)
            .select(0, part)
            .narrow(1, slot.length, r.rows)
            .copy_(Heads(part == 0 ? k : v, first, r.rows));
      first += r.rows;
    }
  }

  at::Tensor AttendLast(int64_t layer, std::span<const SlotRows> rows, std::span<const int64_t> queries,
                        const at::Tensor& q, double scale) override {
    std::vector<at::Tensor> outputs;
    int64_t first = 0;
    for (size_t n = 0; n < rows.size(); first += queries[n++]) {
      const int64_t count = queries[n];
      if (count == 0) continue;
      const Slot& slot = Used(rows[n].slot);
      const int64_t length = slot.length + rows[n].rows, group = shape_.heads / shape_.kv_heads;
      const at::Tensor state = slot.data.select(0, layer).narrow(2, 0, length).repeat_interleave(group, 1);
      const at::Tensor mask =
          at::ones({count, length}, at::dtype(at::kBool).device(device_)).tril(length - count);
      const at::Tensor y =
          at::scaled_dot_product_attention(Heads(q, first, count).unsqueeze(0), state.narrow(0, 0, 1),
                                           state.narrow(0, 1, 1), mask, 0.0, false, scale);
      outputs.push_back(y.squeeze(0).transpose(0, 1).reshape({count, shape_.heads * shape_.head_dim}));
    }
    return outputs.empty() ? at::empty({0, shape_.heads * shape_.head_dim}, q.options()) : at::cat(outputs);
  }

 protected:
  at::Tensor NewData(int64_t capacity) const override {
    return at::empty({shape_.layers, 2, shape_.kv_heads, capacity, shape_.head_dim},
                     at::dtype(dtype_).device(device_));
  }
  void CopyTokens(const Slot& from, Slot& to, int64_t tokens) const override {
    to.data.narrow(3, 0, tokens).copy_(from.data.narrow(3, 0, tokens));
  }

 private:
  // Rows of a call as [heads, rows, head_dim].
  at::Tensor Heads(const at::Tensor& x, int64_t first, int64_t rows) const {
    return x.narrow(0, first, rows).reshape({rows, -1, shape_.head_dim}).transpose(0, 1);
  }
};

int64_t RoundUp(int64_t tokens) {
  return (tokens + kPanel - 1) / kPanel * kPanel;
}

}  // namespace

std::unique_ptr<SlotCache> SlotCache::Make(const CacheShape& shape, at::ScalarType dtype, at::Device device,
                                           bool plain) {
  if (shape.heads % shape.kv_heads != 0 || shape.head_dim > kernels::kMaxHeadDim || shape.head_dim <= 0)
    throw std::invalid_argument("slot cache: " + std::to_string(shape.heads) + " heads over " +
                                std::to_string(shape.kv_heads) + " key heads of " +
                                std::to_string(shape.head_dim) + ": heads must be a multiple of key heads, " +
                                "their dimension at most " + std::to_string(kernels::kMaxHeadDim));
  if (dtype != at::kFloat && dtype != at::kBFloat16)
    throw std::invalid_argument("slot cache: keys and values are held in float32 or bfloat16");
  if (device.is_cpu() && !plain) return std::make_unique<KernelCache>(shape, dtype, device);
  return std::make_unique<AtenCache>(shape, dtype, device);
}

int64_t SlotCache::BytesPerToken(const CacheShape& shape, at::ScalarType dtype) {
  return shape.layers * shape.kv_heads * ElementsPerHead(shape) *
         static_cast<int64_t>(at::elementSize(dtype));
}
int64_t SlotCache::BytesPerSlot(const CacheShape& shape, at::ScalarType dtype) {
  return (kPanel - 1) * BytesPerToken(shape, dtype);
}

at::Tensor SlotCache::Attend(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& qkv,
                             double scale) {
  const int64_t q = shape_.heads * shape_.head_dim, kv = shape_.kv_heads * shape_.head_dim;
  TORCH_CHECK(qkv.dim() == 2 && qkv.size(1) == q + 2 * kv, "SlotCache: qkv ", qkv.sizes());
  std::vector<int64_t> all;
  for (const SlotRows& r : rows) all.push_back(r.rows);
  Store(layer, rows, qkv.narrow(1, q, kv), qkv.narrow(1, q + kv, kv));
  return AttendLast(layer, rows, all, qkv.narrow(1, 0, q), scale);
}

SlotCache::Slot& SlotCache::Used(int64_t slot) {
  return const_cast<Slot&>(std::as_const(*this).Used(slot));
}

const SlotCache::Slot& SlotCache::Used(int64_t slot) const {
  if (slot < 0 || slot >= static_cast<int64_t>(slots_.size()) || !slots_[slot].used)
    throw std::invalid_argument("slot " + std::to_string(slot) + " is not allocated");
  return slots_[slot];
}

int64_t SlotCache::Allocate(int64_t expected_tokens) {
  size_t index = 0;
  while (index < slots_.size() && slots_[index].used) index++;
  if (index == slots_.size()) slots_.emplace_back();
  Slot slot;
  slot.used = true;
  slot.capacity = RoundUp(std::max<int64_t>(expected_tokens, 1));
  slot.data = NewData(slot.capacity);
  slots_[index] = std::move(slot);
  return static_cast<int64_t>(index);
}

int64_t SlotCache::Fork(int64_t slot, int64_t expected_tokens) {
  const int64_t made = Allocate(std::max(expected_tokens, Used(slot).length));
  Slot& to = slots_[made];
  CopyTokens(Used(slot), to, Used(slot).length);
  to.length = Used(slot).length;
  return made;
}

void SlotCache::Drop(int64_t slot) {
  Used(slot) = Slot();
}
void SlotCache::Clear(int64_t slot) {
  Used(slot).length = 0;
}
int64_t SlotCache::Length(int64_t slot) const {
  return Used(slot).length;
}

int64_t SlotCache::bytes() const {
  int64_t total = 0;
  for (const Slot& slot : slots_)
    if (slot.used) total += static_cast<int64_t>(slot.data.nbytes());
  return total;
}

void SlotCache::Grow(Slot& slot, int64_t tokens) {
  Slot grown;
  grown.used = true;
  grown.length = slot.length;
  grown.capacity = RoundUp(std::max(tokens, slot.capacity * 5 / 4));
  grown.data = NewData(grown.capacity);
  CopyTokens(slot, grown, slot.length);
  slot = std::move(grown);
}

void SlotCache::Reserve(std::span<const SlotRows> rows) {
  for (const SlotRows& r : rows) {
    Slot& slot = Used(r.slot);
    if (slot.length + r.rows > slot.capacity) Grow(slot, slot.length + r.rows);
  }
}

void SlotCache::Commit(std::span<const SlotRows> rows) {
  for (const SlotRows& r : rows) Used(r.slot).length += r.rows;
}

}  // namespace volery::nn
