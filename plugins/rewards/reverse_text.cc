// Pays for giving back the expected text: 1 or 0 (exact), or the share of matching characters (lcs).
//
// lcs is the ratio that Python's difflib.SequenceMatcher(None, completion, expected) gives: 2 M / (characters
// of both), M being the characters in matching blocks found by Ratcliff and Obershelp's method (longest block
// first, then left and right of it). Expected texts of 200 characters and more ignore, as block seeds,
// characters that make up over 1 % of them.
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "tag.h"
#include "volery/reward.h"

namespace volery::rewards {
namespace {

// Code points of UTF-8; a byte that starts no valid sequence stands for itself (above the range of Unicode).
std::u32string CodePoints(std::string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = text[i];
    const size_t length = lead < 0x80       ? 1
                          : lead >> 5 == 6  ? 2
                          : lead >> 4 == 14 ? 3
                          : lead >> 3 == 30 ? 4
                                            : 0;
    char32_t point = length == 1 ? lead : lead & (0x7f >> length);
    bool valid = length > 0 && i + length <= text.size();
    for (size_t k = 1; valid && k < length; ++k) {
      valid = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
      point = point << 6 | (text[i + k] & 0x3f);
    }
    out += valid ? point : 0x110000 + lead;
    i += valid ? length : 1;
  }
  return out;
}

class Matcher {
 public:
  Matcher(const std::u32string& a, const std::u32string& b) : a_(a), b_(b) {
    for (size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    if (b.size() < kPopularFrom) return;
    std::erase_if(places_, [&](const auto& entry) { return entry.second.size() > b.size() / 100 + 1; });
  }

  double Ratio() const {
    if (a_.empty() && b_.empty()) return 1;
    std::vector<Range> open{{0, a_.size(), 0, b_.size()}};
    size_t matches = 0;
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Block block = Longest(range);
      if (block.size == 0) continue;
      matches += block.size;
      if (range.a0 < block.a && range.b0 < block.b) open.push_back({range.a0, block.a, range.b0, block.b});
      const size_t a1 = block.a + block.size, b1 = block.b + block.size;
      if (a1 < range.a1 && b1 < range.b1) open.push_back({a1, range.a1, b1, range.b1});
    }
    return 2.0 * static_cast<double>(matches) / static_cast<double>(a_.size() + b_.size());
  }

 private:
  static constexpr size_t kPopularFrom = 200;
  struct Range {
    size_t a0, a1, b0, b1;
  };
  struct Block {
    size_t a, b, size;
  };

  // The longest common block; among equals the one that starts first in a, then in b.
  Block Longest(const Range& range) const {
    Block best{range.a0, range.b0, 0};
    std::vector<size_t> length(b_.size() + 1, 0),
        next(b_.size() + 1, 0);  // of the block that ends at a[i], b[j - 1]
    for (size_t i = range.a0; i < range.a1; ++i) {
      std::fill(next.begin() + range.b0, next.begin() + range.b1 + 1, 0);
      if (auto found = places_.find(a_[i]); found != places_.end()) {
        for (size_t j : found->second) {
          if (j < range.b0) continue;
          if (j >= range.b1) break;
          const size_t k = next[j + 1] = length[j] + 1;
          if (k > best.size) best = {i + 1 - k, j + 1 - k, k};
        }
      }
      length.swap(next);
    }
    return Grow(best, range);
  }

  // Popular characters are no seeds, but belong to a block that they touch.
  Block Grow(Block block, const Range& range) const {
    while (block.a > range.a0 && block.b > range.b0 && a_[block.a - 1] == b_[block.b - 1])
      --block.a, --block.b, ++block.size;
    while (block.a + block.size < range.a1 && block.b + block.size < range.b1 &&
           a_[block.a + block.size] == b_[block.b + block.size]) {
      ++block.size;
    }
    return block;
  }

  const std::u32string &a_, &b_;
  std::unordered_map<char32_t, std::vector<size_t>> places_;
};

class ReverseText : public Reward {
 public:
  static constexpr char kDescription[] = "does the completion give back the expected (reversed) text";
  static constexpr Option kOptions[] = {
      {"mode", OptionType::kText, "exact", "exact: 1 or 0; lcs: share of matching characters"},
      {"answer_column", OptionType::kText, "",
       "dataset column with the expected text; empty: the answer column"},
      {"source_column", OptionType::kText, "",
       "dataset column with the text to reverse, instead of an expected text"},
      {"tag", OptionType::kText, "",
       "read only the text inside <tag>...</tag>, which must be there exactly once"},
      {"trim", OptionType::kBool, "true", "ignore whitespace at both ends of the completion"},
  };

  explicit ReverseText(const Options& options)
      : answer_column_(options.Text("answer_column")),
        source_column_(options.Text("source_column")),
        tag_(options.Text("tag")),
        trim_(options.Flag("trim")) {
    const std::string mode = options.Text("mode");
    if (mode != "exact" && mode != "lcs")
      throw std::invalid_argument("option \"mode\" is \"" + mode + "\"; it must be exact or lcs");
    lcs_ = mode == "lcs";
    if (!answer_column_.empty() && !source_column_.empty()) {
      throw std::invalid_argument("give \"answer_column\" or \"source_column\", not both");
    }
  }

  double Score(const Sample& sample) const override {
    const std::u32string expected = Expected(sample);
    std::string_view text = sample.completion;
    if (!tag_.empty()) {
      const std::optional<std::string_view> inside = InsideTag(text, tag_);
      if (!inside) return 0;
      text = *inside;
    }
    const std::u32string given = CodePoints(trim_ ? Trim(text) : text);
    return lcs_ ? Matcher(given, expected).Ratio() : given == expected;
  }

 private:
  std::u32string Expected(const Sample& sample) const {
    const bool reverse = !source_column_.empty();
    const std::string& column = reverse ? source_column_ : answer_column_;
    const std::string_view text = column.empty() ? sample.answer : sample.Get(column).text;
    if (text.empty())
      throw std::invalid_argument("the sample has no " + std::string(column.empty() ? "answer" : column));
    std::u32string points = CodePoints(text);
    if (reverse) std::reverse(points.begin(), points.end());
    return points;
  }

  bool lcs_ = false;
  std::string answer_column_, source_column_, tag_;
  bool trim_;
};

}  // namespace
}  // namespace volery::rewards

VOLERY_REWARD_PLUGIN("volery.reverse_text/1", volery::rewards::ReverseText)
