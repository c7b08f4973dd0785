#include "core/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

namespace volery::text {
namespace {

constexpr size_t kShortPiece = 64;          // symbols; up to here rescanning beats a queue
constexpr uint32_t kNoRank = ~uint32_t{0};  // -1, above every rank

// Direct-mapped cache of short pieces, one cache line an entry.
class PieceCache {
 public:
  static constexpr size_t kMaxBytes = 30, kMaxIds = 8;
  struct alignas(64) Entry {
    unsigned char length = 0;  // 0: empty
    unsigned char count = 0;
    char bytes[kMaxBytes] = {};
    int32_t ids[kMaxIds] = {};
  };
  static_assert(sizeof(Entry) == 64);

  PieceCache() : entries_(kEntries) {}

  Entry* Slot(std::string_view piece) { return &entries_[Hash(piece) & (kEntries - 1)]; }
  static bool Holds(const Entry& entry, std::string_view piece) {
    return entry.length == piece.size() && std::memcmp(entry.bytes, piece.data(), piece.size()) == 0;
  }
  static void Fill(std::string_view piece, const int32_t* ids, size_t count, Entry* entry) {
    entry->length = static_cast<unsigned char>(piece.size());
    entry->count = static_cast<unsigned char>(count);
    std::memcpy(entry->bytes, piece.data(), piece.size());
    std::copy_n(ids, count, entry->ids);
  }

 private:
  static constexpr size_t kEntries = size_t{1} << 15;

  static size_t Hash(std::string_view piece) {
    uint64_t hash = piece.size() * 0x9E3779B97F4A7C15ull;
    const char* p = piece.data();
    size_t left = piece.size();
    for (; left >= 8; left -= 8, p += 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      hash = (std::rotl(hash, 23) ^ word) * 0xD6E8FEB86659FD93ull;
    }
    uint64_t word = 0;
    std::memcpy(&word, p, left);
    hash = (std::rotl(hash, 23) ^ word) * 0xD6E8FEB86659FD93ull;
    return static_cast<size_t>(hash ^ hash >> 32);
  }

  std::vector<Entry> entries_;
};

struct Candidate {
  int32_t rank;
  uint32_t position;
  int32_t left, right, merged;
  // For a heap whose top is the lowest rank, leftmost on a tie.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

void MergeTable::Reserve(size_t count) {
  const size_t slots = std::bit_ceil(std::max<size_t>(2, count * 2 + 1));
  slots_.assign(slots, Slot{});
  mask_ = slots - 1;
  filter_.assign(std::max<size_t>(1, slots / 32), 0);  // two bits a slot, eight or more a merge
  filter_mask_ = filter_.size() - 1;
}

void MergeTable::Insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = Key(left, right), hash = Hash(key);
  filter_[FilterWord(hash)] |= FilterBit(hash);
  size_t at = hash & mask_;
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
  slots_[at] = {key, merge};
}

struct BpeModel::WholePieces {
  std::unordered_map<std::string, int32_t> ids;
};

struct BpeModel::Scratch::State {
  PieceCache cache;
  std::vector<int32_t> ids;
  std::vector<uint32_t> next, previous;
  std::vector<Candidate> heap;
};

BpeModel::Scratch::Scratch() : state_(std::make_unique<State>()) {}
BpeModel::Scratch::~Scratch() = default;

BpeModel::BpeModel(BpeModelOptions options, const std::vector<Merge>& merges,
                   const std::vector<std::pair<std::string_view, int32_t>>& whole_pieces)
    : options_(options), has_merges_(!merges.empty()), whole_pieces_(std::make_unique<WholePieces>()) {
  merges_.Reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    merges_.Insert(merges[rank].left, merges[rank].right, {static_cast<int32_t>(rank), merges[rank].merged});
  }
  if (!options_.ignore_merges) return;
  for (const auto& [bytes, id] : whole_pieces) whole_pieces_->ids.emplace(bytes, id);
}

BpeModel::~BpeModel() = default;

void BpeModel::InitialIds(std::string_view piece, std::vector<int32_t>* ids) const {
  bool in_unknown = false;
  for (const char c : piece) {
    const int32_t id = options_.byte_ids[static_cast<uint8_t>(c)];
    if (id >= 0) {
      ids->push_back(id);
    } else if (options_.unknown_id >= 0 && !(in_unknown && options_.fuse_unknown)) {
      ids->push_back(options_.unknown_id);
    }
    in_unknown = id < 0;
  }
}

void BpeModel::MergeShort(Scratch* scratch) const {
  std::vector<int32_t>& ids = scratch->state_->ids;
  struct Symbol {
    int32_t id;
    uint32_t rank;  // of its merge with the next symbol; kNoRank: there is none
    int32_t merged;
  };
  Symbol symbols[kShortPiece];
  size_t count = ids.size();
  const auto look_up = [&](size_t at) {
    const MergeTable::Merge merge =
        at + 1 < count ? merges_.Find(symbols[at].id, symbols[at + 1].id) : MergeTable::Merge();
    symbols[at].rank = static_cast<uint32_t>(merge.rank);
    symbols[at].merged = merge.id;
  };
  for (size_t at = 0; at < count; ++at) symbols[at].id = ids[at];
  for (size_t at = 0; at < count; ++at) look_up(at);
  while (count > 1) {
    scratch->steps += count;
    size_t best = 0;
    uint32_t lowest = symbols[0].rank;
    for (size_t at = 1; at + 1 < count; ++at) {
      best = symbols[at].rank < lowest ? at : best;
      lowest = std::min(lowest, symbols[at].rank);
    }
    if (lowest == kNoRank) break;
    symbols[best].id = symbols[best].merged;
    --count;
    std::copy(symbols + best + 2, symbols + count + 1, symbols + best + 1);
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.resize(count);
  for (size_t at = 0; at < count; ++at) ids[at] = symbols[at].id;
}

void BpeModel::MergeLong(Scratch* scratch) const {
  auto& [cache, ids, next, previous, heap] = *scratch->state_;
  const auto count = static_cast<uint32_t>(ids.size());
  next.resize(count);
  previous.resize(count);
  heap.clear();
  const auto consider = [&, &ids = ids, &heap = heap](uint32_t left, uint32_t right) {
    const MergeTable::Merge merge = merges_.Find(ids[left], ids[right]);
    if (merge.rank >= 0) heap.push_back({merge.rank, left, ids[left], ids[right], merge.id});
    return merge.rank >= 0;
  };
  for (uint32_t at = 0; at < count; ++at) {
    next[at] = at + 1;
    previous[at] = at - 1;  // wraps at 0, which is never followed
    if (at + 1 < count) consider(at, at + 1);
  }
  std::make_heap(heap.begin(), heap.end());
  scratch->steps += count;
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate top = heap.back();
    heap.pop_back();
    ++scratch->steps;
    const uint32_t left = top.position, right = next[left];
    if (ids[left] != top.left || right >= count || ids[right] != top.right)
      continue;  // merged otherwise meanwhile
    ids[left] = top.merged;
    ids[right] = -1;
    next[left] = next[right];
    if (next[left] < count) {
      previous[next[left]] = left;
      if (consider(left, next[left])) std::push_heap(heap.begin(), heap.end());
    }
    if (left > 0 && consider(previous[left], left)) std::push_heap(heap.begin(), heap.end());
  }
  ids.erase(std::remove(ids.begin(), ids.end(), -1), ids.end());
}

void BpeModel::EncodePiece(std::string_view piece, Scratch* scratch, std::vector<int32_t>* out) const {
  if (!has_merges_ && !options_.ignore_merges) {
    InitialIds(piece, out);
    return;
  }
  Scratch::State& state = *scratch->state_;
  PieceCache::Entry* entry = piece.size() <= PieceCache::kMaxBytes ? state.cache.Slot(piece) : nullptr;
  if (entry != nullptr && PieceCache::Holds(*entry, piece)) {
    out->insert(out->end(), entry->ids, entry->ids + entry->count);
    return;
  }
  state.ids.clear();
  const auto whole =
      options_.ignore_merges ? whole_pieces_->ids.find(std::string(piece)) : whole_pieces_->ids.end();
  if (whole != whole_pieces_->ids.end()) {
    state.ids.push_back(whole->second);
  } else {
    InitialIds(piece, &state.ids);
    state.ids.size() <= kShortPiece ? MergeShort(scratch) : MergeLong(scratch);
  }
  out->insert(out->end(), state.ids.begin(), state.ids.end());
  if (entry != nullptr && state.ids.size() <= PieceCache::kMaxIds) {
    PieceCache::Fill(piece, state.ids.data(), state.ids.size(), entry);
  }
}

}  // namespace volery::text
