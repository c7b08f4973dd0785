#pragma once
// A Jinja template in a canonical spelling, so that two texts which differ only in layout, quotes or the
// splitting of literals compare equal. White space is resolved as transformers renders (trim_blocks,
// lstrip_blocks). No interpreter.

#include <string>

namespace volery::text {

std::string CanonicalTemplate(const std::string& jinja_text);

}  // namespace volery::text
