#pragma once
// Element types of stored tensors, their sizes and their names in safetensors files. Knows nothing of
// LibTorch.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace volery::formats {

enum class DType : uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4m3,
  kF8E5m2,
  kU16,
  kI16,
  kF16,
  kBf16,
  kU32,
  kI32,
  kF32,
  kU64,
  kI64,
  kF64,
};

size_t DTypeSize(DType dtype);                              // bytes of one element
const char* DTypeName(DType dtype);                         // as in safetensors: "F32", "BF16" ...
std::optional<DType> DTypeFromName(std::string_view name);  // of those names only

// Product of `shape` (1 for a scalar); nothing for a negative dimension or a product above 2^63 - 1.
std::optional<int64_t> ElementCount(const std::vector<int64_t>& shape);
// Bytes of a contiguous tensor, under the same rule.
std::optional<int64_t> ByteCount(DType dtype, const std::vector<int64_t>& shape);

}  // namespace volery::formats
