#pragma once
// SHA-256 as lower-case hex, and a fast 64-bit hash for tables (FNV-1a; not for security).

#include <cstdint>
#include <span>
#include <string>

#include "core/base/status.h"

namespace volery::base {

std::string Sha256Hex(std::span<const std::byte> bytes);
std::string Sha256Hex(const std::string& bytes);
StatusOr<std::string> Sha256OfFile(const std::string& path);
uint64_t Fnv1a(std::span<const std::byte> bytes, uint64_t seed = 0xcbf29ce484222325ull);

}  // namespace volery::base
