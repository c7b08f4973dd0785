#pragma once
// The head of an .idx file: magic (9 bytes), version (8), type of a token (1), number of items (8), number of
// document boundaries (8), all little endian. Behind it: an int32 size in tokens per item, an int64 place in
// bytes per item, an int64 item index per boundary (0 first, then the end of each document).

#include <cstdint>
#include <string_view>

namespace volery::formats {

constexpr std::string_view kBinidxMagic{"MMIDIDX\0\0", 9};
constexpr uint64_t kBinidxVersion = 1;
constexpr uint64_t kBinidxHeader = 34;
constexpr uint8_t kBinidxI32 = 4, kBinidxU16 = 8;

}  // namespace volery::formats
