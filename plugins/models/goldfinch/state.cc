#include "state.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <stdexcept>

namespace volery::goldfinch {
namespace {

constexpr int64_t kStep = 16;  // tokens by which room is rounded up

std::vector<nn::StatePart> Parts(const Config& c, const StateLayout& layout, at::ScalarType dtype) {
  return {{"shift", {layout.rows, c.width}, dtype},
          {"wkv", {layout.wkv_layers, c.heads(), c.head_size, c.head_size}, at::kFloat}};
}

nn::CacheShape ShapeOf(const Config& c, const StateLayout& layout) {
  return {layout.cache_layers, c.heads(), c.heads(), c.head_size};
}

std::string Describe(const Config& c, const StateLayout& layout, CacheMode mode) {
  std::string out;
  const auto add = [&](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  if (layout.rows > 0) add("token shifts");
  if (layout.wkv_layers > 0) add("recurrent states of " + std::to_string(layout.wkv_layers) + " layers");
  if (layout.cache_layers > 0) add("keys and values of " + std::to_string(layout.cache_layers) + " layers");
  if (mode == CacheMode::kProtoKeys) add("proto-keys of " + std::to_string(c.width) + " values");
  if (mode == CacheMode::kCompressed) add("compressed keys of " + std::to_string(c.compressed) + " values");
  return out;
}

void MustAgree(int64_t a, int64_t b) {
  if (a != b) throw std::logic_error("the parts of a decode state number their slots differently");
}

}  // namespace

CacheMode ParseCacheMode(const std::string& name) {
  if (name == "full") return CacheMode::kFull;
  if (name == "proto_keys") return CacheMode::kProtoKeys;
  if (name == "compressed") return CacheMode::kCompressed;
  throw std::invalid_argument("cache = \"" + name +
                              "\" is not supported; supported: full, proto_keys, compressed");
}

StateLayout::StateLayout(const Config& c, CacheMode mode) {
  for (int64_t i = 0; i < c.layers; i++) {
    const TimeMix kind = c.Kind(i);
    const bool cached = Attends(kind) && (kind != TimeMix::kGold || mode == CacheMode::kFull);
    time_row.push_back(kind == TimeMix::kLlama ? -1 : rows++);
    channel_row.push_back(c.channel == ChannelMix::kLlama ? -1 : rows++);
    wkv.push_back(Attends(kind) ? -1 : wkv_layers++);
    cache.push_back(cached ? cache_layers++ : -1);
  }
  if (!c.gold()) return;
  if (mode == CacheMode::kFull) {
    embedded_row = rows++;
    proto_row = rows++;
  } else {
    kept_width = mode == CacheMode::kProtoKeys ? c.width : c.compressed;
  }
}

int64_t TokenRows::BytesPerToken(int64_t width, at::ScalarType dtype) {
  return width * static_cast<int64_t>(at::elementSize(dtype)) + static_cast<int64_t>(sizeof(int32_t));
}
int64_t TokenRows::BytesPerSlot(int64_t width, at::ScalarType dtype) {
  return (kStep - 1) * BytesPerToken(width, dtype);
}

TokenRows::Slot TokenRows::New(int64_t capacity) const {
  const int64_t rounded = (std::max<int64_t>(capacity, 1) + kStep - 1) / kStep * kStep;
  // Ordinary tensors, which may be changed in and outside of inference mode.
  const c10::InferenceMode ordinary(false);
  Slot slot;
  slot.used = true;
  slot.tokens = at::empty({rounded}, at::dtype(at::kInt).device(device_));
  slot.rows = at::empty({rounded, width_}, at::dtype(dtype_).device(device_));
  return slot;
}

int64_t TokenRows::Allocate(int64_t expected_tokens) {
  const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.used; });
  const int64_t index = free - slots_.begin();
  if (free == slots_.end()) slots_.emplace_back();
  slots_[index] = New(expected_tokens);
  return index;
}

int64_t TokenRows::Fork(int64_t slot, int64_t expected_tokens) {
  const int64_t made = Allocate(std::max(expected_tokens, slots_.at(slot).length));
  Append(made, Tokens(slot), Rows(slot));
  return made;
}

void TokenRows::Drop(int64_t slot) {
  slots_.at(slot) = Slot();
}
void TokenRows::Clear(int64_t slot) {
  slots_.at(slot).length = 0;
}

void TokenRows::Append(int64_t index, const at::Tensor& tokens, const at::Tensor& rows) {
  Slot& slot = slots_.at(index);
  const int64_t count = rows.size(0), capacity = slot.rows.size(0);
  if (slot.length + count > capacity) {
    Slot grown = New(std::max(slot.length + count, capacity * 5 / 4));
    grown.tokens.narrow(0, 0, slot.length).copy_(slot.tokens.narrow(0, 0, slot.length));
    grown.rows.narrow(0, 0, slot.length).copy_(slot.rows.narrow(0, 0, slot.length));
    grown.length = slot.length;
    slot = std::move(grown);
  }
  slot.tokens.narrow(0, slot.length, count).copy_(tokens);
  slot.rows.narrow(0, slot.length, count).copy_(rows);
  slot.length += count;
}

at::Tensor TokenRows::Rows(int64_t slot) const {
  return slots_.at(slot).rows.narrow(0, 0, slots_.at(slot).length);
}
at::Tensor TokenRows::Tokens(int64_t slot) const {
  return slots_.at(slot).tokens.narrow(0, 0, slots_.at(slot).length).to(at::kLong);
}

int64_t TokenRows::bytes() const {
  int64_t total = 0;
  for (const Slot& slot : slots_)
    if (slot.used) total += static_cast<int64_t>(slot.tokens.nbytes() + slot.rows.nbytes());
  return total;
}

State::State(const Config& c, CacheMode m, int64_t memo_bytes, at::ScalarType dtype, at::Device device)
    : mode(m), layout(c, m), states(Parts(c, layout, dtype), device) {
  if (layout.cache_layers > 0) cache = nn::SlotCache::Make(ShapeOf(c, layout), dtype, device);
  if (layout.kept_width == 0) return;
  kept = std::make_unique<TokenRows>(layout.kept_width, dtype, device);
  memo = std::make_unique<Memo>(c, dtype, device, memo_bytes);
}

native::StateSpec State::Spec(const Config& c, CacheMode mode, int64_t memo_bytes, at::ScalarType dtype) {
  const StateLayout layout(c, mode);
  native::StateSpec spec{nn::SlotStates::Bytes(Parts(c, layout, dtype)), 0, mode == CacheMode::kFull,
                         Describe(c, layout, mode)};
  if (layout.cache_layers > 0) {
    spec.bytes_per_slot += nn::SlotCache::BytesPerSlot(ShapeOf(c, layout), dtype);
    spec.bytes_per_token += nn::SlotCache::BytesPerToken(ShapeOf(c, layout), dtype);
  }
  if (layout.kept_width > 0) {
    spec.bytes_per_slot += TokenRows::BytesPerSlot(layout.kept_width, dtype);
    spec.bytes_per_token += TokenRows::BytesPerToken(layout.kept_width, dtype);
    spec.shared_bytes = memo_bytes;
  }
  return spec;
}

int64_t State::Allocate(int64_t expected_tokens) {
  const int64_t slot = states.Allocate();
  if (cache) MustAgree(slot, cache->Allocate(expected_tokens));
  if (kept) MustAgree(slot, kept->Allocate(expected_tokens));
  if (slot >= static_cast<int64_t>(read_by_gold.size())) read_by_gold.resize(slot + 1);
  read_by_gold[slot] = 0;
  return slot;
}

int64_t State::Fork(int64_t slot, int64_t expected_tokens) {
  const int64_t made = states.Fork(slot);
  if (cache) MustAgree(made, cache->Fork(slot, expected_tokens));
  if (kept) MustAgree(made, kept->Fork(slot, expected_tokens));
  if (made >= static_cast<int64_t>(read_by_gold.size())) read_by_gold.resize(made + 1);
  read_by_gold[made] = read_by_gold[slot];
  return made;
}

void State::Drop(int64_t slot) {
  states.Drop(slot);
  if (cache) cache->Drop(slot);
  if (kept) kept->Drop(slot);
}

void State::Clear(int64_t slot) {
  states.Clear(slot);
  if (cache) cache->Clear(slot);
  if (kept) kept->Clear(slot);
  read_by_gold[slot] = 0;
}

int64_t State::bytes() const {
  return states.bytes() + (cache ? cache->bytes() : 0) + (kept ? kept->bytes() + memo->bytes() : 0);
}

}  // namespace volery::goldfinch
