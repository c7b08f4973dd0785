#pragma once
// The process's memory. Thread-safe.

#include <cstdint>

namespace volery::base {

// The largest resident size so far, in bytes.
int64_t PeakMemoryBytes();

}  // namespace volery::base
