#include "core/base/json.h"

namespace volery::base {

Status CheckJsonDepth(std::string_view text, const std::string& where, int levels) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > levels) return InvalidError(where, ": the JSON is nested deeper than ", levels, " levels");
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return OkStatus();
}

}  // namespace volery::base
