#pragma once
// The element types of GGUF files: names, block sizes, and dequantisation to float32 of the supported ones,
// bit for bit as the gguf Python package does it. Thread-safe; no state.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/base/status.h"

namespace volery::formats {

// Values as stored in files; others exist and are known by size and name only.
enum class GgmlType : uint32_t { kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ8_0 = 8, kBf16 = 30 };

struct GgmlTypeInfo {
  GgmlType type;
  const char* name;  // "Q4_1"
  int64_t block;     // elements of one block; blocks run along the innermost dimension
  int64_t block_bytes;
};

// Nothing for a type id that isn't known at all.
std::optional<GgmlTypeInfo> FindGgmlType(uint32_t id);
const char* GgmlTypeName(GgmlType type);  // "unknown" for such an id
bool CanDequantise(GgmlType type);

// Writes `count` floats to `out`. `bytes` must be exactly the blocks of `count` elements (a whole number of
// them). InvalidArgument: another length, or a type that can't be dequantised (the message lists those that
// can).
Status Dequantise(GgmlType type, std::span<const std::byte> bytes, float* out, int64_t count);

}  // namespace volery::formats
