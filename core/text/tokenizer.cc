#include "core/text/tokenizer.h"

#include "core/text/utf8.h"

namespace volery::text {

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  bool at_start = true;
  for (const int32_t id : ids) {
    if (!skip_special || !IsSpecial(id)) AppendToken(id, &at_start, &bytes);
  }
  return IsValidUtf8(bytes) ? bytes : ReplaceInvalidUtf8(bytes);
}

void Tokenizer::AppendToken(int32_t id, bool* at_start, std::string* bytes) const {
  *at_start = false;
  *bytes += TokenBytes(id);
}

}  // namespace volery::text
