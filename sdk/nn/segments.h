#pragma once
// Segments of a training batch, checked, and the order in which a recurrence can walk them.

#include <cstdint>
#include <vector>

#include "volery/nn/segment_attention.h"

namespace volery::nn {

// Throws std::invalid_argument unless the segments cover [0, tokens) in order, each after its parent.
void CheckSegments(const std::vector<SegmentRange>& segments, int64_t tokens);

// Indices of the segments by depth: those without a parent first, then their children, each list ascending.
std::vector<std::vector<int64_t>> SegmentsByDepth(const std::vector<SegmentRange>& segments);

}  // namespace volery::nn
