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

  at::Tensor Attend(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& qkv,
                    double scale) override {
    const std::vector<Row> all = ListRows(rows);
    const int64_t heads = shape_.heads, dim = shape_.head_dim, stride = qkv.stride(0);
    TORCH_CHECK(qkv.size(0) == static_cast<int64_t>(all.size()) && qkv.stride(1) == 1,
                "SlotCache: ", all.size(), " rows, qkv ", qkv.sizes());
    at::Tensor out = at::empty({qkv.size(0), heads * dim}, qkv.options());
    const kernels::Table& table = TableFor(ElementOf(qkv));
    const int64_t tasks = static_cast<int64_t>(all.size()) * shape_.kv_heads, group = heads / shape_.kv_heads;
    int64_t positions = 0;
    for (const Row& row : all) positions += row.position + 1;
    ParallelRows(tasks, 10 * dim, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        const Row& row = all[t / shape_.kv_heads];
        const int64_t head = t % shape_.kv_heads, at = t / shape_.kv_heads * stride + (heads + head) * dim;
        table.append(At(qkv, at), At(qkv, at + shape_.kv_heads * dim), Keys(*row.slot, layer, head),
                     Values(*row.slot, layer, head), row.position, dim);
      }
    });
    const int64_t cost =
        positions / std::max<int64_t>(1, static_cast<int64_t>(all.size())) * dim * group / 8 + 200;
    ParallelRows(tasks, cost, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(kernels::AttendScratch(group, dim));
      for (int64_t t = begin; t < end; t++) {
        const int64_t n = t / shape_.kv_heads, head = t % shape_.kv_heads;
        const Row& row = all[n];
        table.attend({At(qkv, n * stride + head * group * dim), Keys(*row.slot, layer, head),
                      Values(*row.slot, layer, head), At(out, (n * heads + head * group) * dim),
                      scratch.data(), row.position + 1, dim, group, static_cast<float>(scale)});
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

  std::vector<Row> ListRows(std::span<const SlotRows> rows) const {
    std::vector<Row> out;
    for (const SlotRows& r : rows) {
      const Slot& slot = Used(r.slot);
      TORCH_CHECK(slot.length + r.rows <= slot.capacity, "SlotCache: slot ", r.slot, " has no room for ",
                  r.rows, " rows");
      for (int64_t i = 0; i < r.rows; i++) out.push_back({&slot, slot.length + i});
    }
    return out;
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

  at::Tensor Attend(int64_t layer, std::span<const SlotRows> rows, const at::Tensor& qkv,
                    double scale) override {
    const int64_t heads = shape_.heads, dim = shape_.head_dim;
    std::vector<at::Tensor> outputs;
    int64_t first = 0;
    for (const SlotRows& r : rows) {
      if (r.rows == 0) continue;
      const Slot& slot = Used(r.slot);
      const int64_t length = slot.length + r.rows;
      const at::Tensor x =
          qkv.narrow(0, first, r.rows).view({r.rows, heads + 2 * shape_.kv_heads, dim}).transpose(0, 1);
      const at::Tensor state = slot.data.select(0, layer);
      const at::Tensor k = state.select(0, 0).narrow(1, 0, length),
                       v = state.select(0, 1).narrow(1, 0, length);
      k.narrow(1, slot.length, r.rows).copy_(x.narrow(0, heads, shape_.kv_heads));
      v.narrow(1, slot.length, r.rows).copy_(x.narrow(0, heads + shape_.kv_heads, shape_.kv_heads));
      const int64_t group = heads / shape_.kv_heads;
      const at::Tensor mask =
          at::ones({r.rows, length}, at::dtype(at::kBool).device(device_)).tril(slot.length);
      const at::Tensor y = at::scaled_dot_product_attention(
          x.narrow(0, 0, heads).unsqueeze(0), k.repeat_interleave(group, 0).unsqueeze(0),
          v.repeat_interleave(group, 0).unsqueeze(0), mask, 0.0, false, scale);
      outputs.push_back(y.squeeze(0).transpose(0, 1).reshape({r.rows, heads * dim}));
      first += r.rows;
    }
    return outputs.empty() ? at::empty({0, heads * dim}, qkv.options()) : at::cat(outputs);
  }

 protected:
  at::Tensor NewData(int64_t capacity) const override {
    return at::empty({shape_.layers, 2, shape_.kv_heads, capacity, shape_.head_dim},
                     at::dtype(dtype_).device(device_));
  }
  void CopyTokens(const Slot& from, Slot& to, int64_t tokens) const override {
    to.data.narrow(3, 0, tokens).copy_(from.data.narrow(3, 0, tokens));
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
