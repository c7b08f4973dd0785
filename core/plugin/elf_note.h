#pragma once
// Reads the build tag of a native plugin from its file: an ELF note (name "volery", type 1) that is looked at
// before the library is opened, so that a foreign build is refused by name instead of by a failing link or a
// crash.

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "core/base/status.h"

namespace volery::plugin {

// The tag's text; nothing when the library carries none. Errors (InvalidArgument): no 64-bit little-endian
// ELF shared library, or headers or notes that reach beyond the file. Any bytes are safe. Pure.
StatusOr<std::optional<std::string>> ReadBuildTag(std::span<const std::byte> file);

}  // namespace volery::plugin
