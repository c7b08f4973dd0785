#pragma once
// Longest match in a fixed set of byte strings: a trie in one flat array (a double array), one dependent read
// a byte. Immutable; thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volery::text {

class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;
  struct Match {
    int32_t key = kNone;  // the key's place in the list
    size_t length = 0;    // its bytes
  };

  ByteTrie() = default;
  // Empty keys are passed over, so that a list may have holes; the others must be distinct (CHECK).
  explicit ByteTrie(const std::vector<std::string>& keys);

  // The longest key that `text` begins with; kNone when there is none.
  Match Longest(std::string_view text) const {
    Match match;
    uint32_t base = root_;
    for (size_t at = 0; at < text.size();) {
      const uint32_t byte = static_cast<unsigned char>(text[at]);
      const Cell cell = cells_[base + byte];
      if ((cell.link & kLabel) != byte) break;
      base = cell.link >> kLabelBits;
      ++at;
      const bool ends = cell.key != kNone;
      match = {ends ? cell.key : match.key,
               ends ? at : match.length};  // no branch: it would be guessed wrong
    }
    return match;
  }
  // The place of exactly this key; kNone when it isn't one.
  int32_t Find(std::string_view key) const;
  size_t bytes() const { return cells_.size() * sizeof(Cell); }

 private:
  // A node's children lie at its base + byte. A cell holds a child of that base exactly if its label is the
  // byte, because no two nodes with children share a base.
  static constexpr uint32_t kLabelBits = 9, kLabel = 511, kFree = 256;
  struct Cell {
    uint32_t link = kFree;  // base << 9 | label
    int32_t key = kNone;
  };
  class Builder;

  std::vector<Cell> cells_ = std::vector<Cell>(256);
  uint32_t root_ = 0;  // base of the root; base 0 has no children
};

}  // namespace volery::text
