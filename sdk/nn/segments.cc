#include "segments.h"

#include <stdexcept>
#include <string>

namespace volery::nn {

void CheckSegments(const std::vector<SegmentRange>& segments, int64_t tokens) {
  int64_t at = 0;
  for (size_t i = 0; i < segments.size(); i++) {
    const SegmentRange& s = segments[i];
    if (s.begin != at || s.end <= s.begin || s.end > tokens || s.parent < -1 ||
        s.parent >= static_cast<int64_t>(i))
      throw std::invalid_argument("segment " + std::to_string(i) + " [" + std::to_string(s.begin) + ", " +
                                  std::to_string(s.end) + ") with parent " + std::to_string(s.parent) +
                                  ": segments must cover all tokens in order, each after its parent");
    at = s.end;
  }
  if (at != tokens)
    throw std::invalid_argument("segments cover " + std::to_string(at) + " of " + std::to_string(tokens) +
                                " tokens");
}

std::vector<std::vector<int64_t>> SegmentsByDepth(const std::vector<SegmentRange>& segments) {
  std::vector<std::vector<int64_t>> out;
  std::vector<size_t> depth(segments.size());
  for (size_t i = 0; i < segments.size(); i++) {
    depth[i] = segments[i].parent < 0 ? 0 : depth[segments[i].parent] + 1;
    if (depth[i] == out.size()) out.emplace_back();
    out[depth[i]].push_back(static_cast<int64_t>(i));
  }
  return out;
}

}  // namespace volery::nn
