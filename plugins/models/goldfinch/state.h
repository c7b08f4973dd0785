#pragma once
// What decode slots hold: rows of the token shifts and states of the recurrence (nn::SlotStates), and of past
// tokens what the layers with attention read: keys and values (nn::SlotCache), or, for GOLD layers by choice,
// only what those are made of. Not thread-safe.

#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "memo.h"
#include "volery/native/model.h"
#include "volery/nn/slot_cache.h"
#include "volery/nn/slot_states.h"

namespace volery::goldfinch {

// Of GOLD layers, for each past token: keys and values of every layer | the proto-key and the token | the
// compressed key and the token. The results have the same bits.
enum class CacheMode { kFull, kProtoKeys, kCompressed };
// "full", "proto_keys", "compressed". Throws std::invalid_argument.
CacheMode ParseCacheMode(const std::string& name);

// Where each layer's part of a slot lies; -1: it has none.
struct StateLayout {
  StateLayout(const Config& config, CacheMode mode);
  std::vector<int64_t> time_row, channel_row;  // of the shift rows
  int64_t embedded_row = -1, proto_row = -1;   // of GOLD's inputs, in full mode
  std::vector<int64_t> wkv, cache;             // which state, which layer of the cache
  int64_t rows = 0, wkv_layers = 0, cache_layers = 0;
  int64_t kept_width = 0;  // of a past token's row in the other modes
};

// A row and a token id for each past token of each slot; memory grows as needed.
class TokenRows {
 public:
  TokenRows(int64_t width, at::ScalarType dtype, at::Device device)
      : width_(width), dtype_(dtype), device_(device) {}
  static int64_t BytesPerToken(int64_t width, at::ScalarType dtype);
  static int64_t BytesPerSlot(int64_t width, at::ScalarType dtype);  // what rounding may add
  int64_t Allocate(int64_t expected_tokens);
  int64_t Fork(int64_t slot, int64_t expected_tokens);
  void Drop(int64_t slot);
  void Clear(int64_t slot);
  // Behind the slot's last.
  void Append(int64_t slot, const at::Tensor& tokens, const at::Tensor& rows);
  at::Tensor Rows(int64_t slot) const;    // [tokens, width]
  at::Tensor Tokens(int64_t slot) const;  // [tokens] int64
  int64_t Length(int64_t slot) const { return slots_.at(slot).length; }
  int64_t bytes() const;

 private:
  struct Slot {
    bool used = false;
    int64_t length = 0;
    at::Tensor tokens, rows;  // [capacity], [capacity, width]
  };
  Slot New(int64_t capacity) const;
  int64_t width_;
  at::ScalarType dtype_;
  at::Device device_;
  std::vector<Slot> slots_;
};

class State final : public native::DecodeState {
 public:
  State(const Config& config, CacheMode mode, int64_t memo_bytes, at::ScalarType dtype, at::Device device);
  static native::StateSpec Spec(const Config& config, CacheMode mode, int64_t memo_bytes, at::ScalarType dtype);

  int64_t Allocate(int64_t expected_tokens) override;
  int64_t Fork(int64_t slot, int64_t expected_tokens) override;
  void Drop(int64_t slot) override;
  void Clear(int64_t slot) override;
  int64_t Length(int64_t slot) const override { return states.Length(slot); }
  int64_t bytes() const override;

  // A shift row, [W]; the recurrence of a layer, [heads, N, N]: a slot's own memory.
  at::Tensor Row(int64_t slot, int64_t row) const { return states.Get(slot, 0).select(0, row); }
  at::Tensor Wkv(int64_t slot, int64_t layer) const {
    return states.Get(slot, 1).select(0, layout.wkv[layer]);
  }

  const CacheMode mode;
  const StateLayout layout;
  nn::SlotStates states;
  std::unique_ptr<nn::SlotCache> cache;  // null: no layer has keys and values
  std::unique_ptr<TokenRows> kept;       // null: full mode
  std::unique_ptr<Memo> memo;            // with `kept`
  // Of each slot: how many of its last tokens went through the GOLD layers.
  std::vector<int64_t> read_by_gold;
};

}  // namespace volery::goldfinch
