#include "core/text/byte_trie.h"

#include <algorithm>
#include <numeric>

#include "core/base/status.h"

namespace volery::text {

// Lays the nodes out breadth first, so that the ones near the root, which every match reads, lie together.
class ByteTrie::Builder {
 public:
  Builder(const std::vector<std::string>& keys, std::vector<Cell>* cells) : keys_(keys), cells_(*cells) {
    for (size_t i = 0; i < keys.size(); ++i) {
      if (!keys[i].empty()) order_.push_back(static_cast<uint32_t>(i));
    }
    std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    for (size_t i = 1; i < order_.size(); ++i) VOLERY_CHECK(keys[order_[i - 1]] != keys[order_[i]]);
    Grow();
  }

  // Base of the root.
  uint32_t Build() {
    if (order_.empty()) return 0;
    nodes_.push_back({0, order_.size(), 0, 0});
    uint32_t root = 0;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const uint32_t base = Place(nodes_[i]);
      if (i == 0) root = base;
    }
    return root;
  }

 private:
  // Keys [first, last) of order_ share their first `depth` bytes; `cell` is the node's own.
  struct Node {
    size_t first, last;
    size_t depth;
    uint32_t cell;
  };
  struct Child {
    uint32_t label;
    size_t first, last;
  };

  uint32_t LabelOf(size_t i, size_t depth) const {
    return static_cast<unsigned char>(keys_[order_[i]][depth]);
  }

  void Grow() {
    cells_.resize(cells_.size() * 2 + 512);
    based_.resize(cells_.size());
  }

  void ListChildren(const Node& node) {
    children_.clear();
    for (size_t i = node.first; i < node.last; ++i) {
      const uint32_t label = LabelOf(i, node.depth);
      if (children_.empty() || children_.back().label != label) children_.push_back({label, i, i});
      children_.back().last = i + 1;
    }
  }

  bool Fits(uint32_t base) const {
    if (based_[base]) return false;
    for (const Child& child : children_) {
      if ((cells_[base + child.label].link & kLabel) != kFree) return false;
    }
    return true;
  }

  // Next fit, one place to look on for each of the two kinds of nodes: to begin again from the first free
  // cell would find nearly every small hole unfit again and again.
  uint32_t FindBase() {
    size_t& from = children_.size() == 1 ? narrow_ : wide_;
    for (;; ++from) {
      while (from + 512 > cells_.size()) Grow();
      if ((cells_[from].link & kLabel) != kFree || from < 256 + children_[0].label) continue;
      const auto base = static_cast<uint32_t>(from - children_[0].label);
      if (Fits(base)) return base;
    }
  }

  uint32_t Place(const Node node) {
    ListChildren(node);
    const uint32_t base = FindBase();
    based_[base] = true;
    if (node.depth > 0) cells_[node.cell].link |= base << kLabelBits;
    for (const Child& child : children_) {
      Cell& cell = cells_[base + child.label];
      cell.link = child.label;
      size_t first = child.first;
      if (keys_[order_[first]].size() == node.depth + 1) cell.key = static_cast<int32_t>(order_[first++]);
      if (first < child.last) nodes_.push_back({first, child.last, node.depth + 1, base + child.label});
    }
    return base;
  }

  const std::vector<std::string>& keys_;
  std::vector<Cell>& cells_;
  std::vector<uint32_t> order_;  // places of the keys, by their bytes
  std::vector<bool> based_;      // bases that are taken
  std::vector<Node> nodes_;
  std::vector<Child> children_;
  size_t narrow_ = 256,
         wide_ = 256;  // the first 256 cells stay free: base 0 is that of nodes without children
};

ByteTrie::ByteTrie(const std::vector<std::string>& keys) {
  root_ = Builder(keys, &cells_).Build();
  size_t used = cells_.size();
  while (used > 256 && (cells_[used - 1].link & kLabel) == kFree) --used;
  cells_.resize(used + 256);  // whatever the base, base + byte is a cell
  cells_.shrink_to_fit();
}

int32_t ByteTrie::Find(std::string_view key) const {
  const Match match = Longest(key);
  return match.length == key.size() ? match.key : kNone;
}

}  // namespace volery::text
