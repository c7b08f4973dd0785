#pragma once
// CRC-32 as zip files use it (reflected polynomial 0xedb88320), eight bytes a step.

#include <cstddef>
#include <cstdint>
#include <span>

namespace volery::formats {

uint32_t Crc32(std::span<const std::byte> bytes);

}  // namespace volery::formats
