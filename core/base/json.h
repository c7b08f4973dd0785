#pragma once
// JSON from outside. nlohmann's parser needs no stack, but copying and printing a value recurse once a level, so a
// file of brackets would end the process: such text is refused before it is parsed.

#include <string_view>

#include "core/base/status.h"

namespace volery::base {

inline constexpr int kMostJsonLevels = 100;

// InvalidArgument, naming `where`: objects and arrays within each other deeper than `levels`. Anything else, also what is
// no JSON at all, is left to the parser.
Status CheckJsonDepth(std::string_view text, const std::string& where, int levels = kMostJsonLevels);

}  // namespace volery::base
