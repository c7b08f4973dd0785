#pragma once
// Byte-pair merging within one piece, as Hugging Face's BPE does it: the pair of lowest rank first, leftmost
// on a tie. Short pieces are answered from a cache or by rescanning; long ones by a priority queue, so that
// no input takes quadratic time. Knows bytes and ids only. Immutable; thread-safe (a Scratch belongs to one
// caller at a time).

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace volery::text {

// Pair of ids -> (rank, merged id): a flat table with open addressing.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;
    int32_t id = -1;
  };
  void Reserve(size_t count);  // before the first Insert; at most `count` inserts follow
  void Insert(int32_t left, int32_t right, Merge merge);  // the last insert of a pair stays
  Merge Find(int32_t left, int32_t right) const {         // rank -1: no such merge
    const uint64_t key = Key(left, right), hash = Hash(key);
    if (!(filter_[FilterWord(hash)] & FilterBit(hash))) return {};
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return slots_[at].merge;
      if (slots_[at].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  static uint64_t Hash(uint64_t key) { return key * 0x9E3779B97F4A7C15ull >> 20; }
  size_t FilterWord(uint64_t hash) const { return hash >> 6 & filter_mask_; }
  static uint64_t FilterBit(uint64_t hash) { return uint64_t{1} << (hash & 63); }
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };
  std::vector<Slot> slots_{Slot{}};
  size_t mask_ = 0;
  // A bit a hash, small enough for a near cache: most pairs that are looked up have no merge.
  std::vector<uint64_t> filter_{0};
  size_t filter_mask_ = 0;
};

struct BpeModelOptions {
  std::array<int32_t, 256> byte_ids{};  // id of each byte, -1 where the vocabulary has none
  int32_t unknown_id = -1;              // for bytes without id; -1: they are left out
  bool fuse_unknown = false;            // one unknown for a run of them
  bool ignore_merges = false;           // a piece that is a token as a whole is that token
};

class BpeModel {
 public:
  struct Merge {
    int32_t left, right, merged;
  };
  // Token bytes by id for whole-piece lookup (used with ignore_merges only); merges in rank order.
  BpeModel(BpeModelOptions options, const std::vector<Merge>& merges,
           const std::vector<std::pair<std::string_view, int32_t>>& whole_pieces);
  ~BpeModel();

  // Working memory and piece cache of one encoding thread. `steps` counts elementary merge steps ever made.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    uint64_t steps = 0;

   private:
    friend class BpeModel;
    struct State;
    std::unique_ptr<State> state_;
  };

  // Appends the ids of `piece` (any bytes).
  void EncodePiece(std::string_view piece, Scratch* scratch, std::vector<int32_t>* out) const;

 private:
  struct WholePieces;
  void InitialIds(std::string_view piece, std::vector<int32_t>* ids) const;
  void MergeShort(Scratch* scratch) const;
  void MergeLong(Scratch* scratch) const;

  BpeModelOptions options_;
  MergeTable merges_;
  bool has_merges_;
  std::unique_ptr<WholePieces> whole_pieces_;
};

}  // namespace volery::text
