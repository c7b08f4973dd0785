#pragma once
// UTF-8 as the tokenizers need it: walking valid text, checking it, replacing what is broken.
// Broken bytes become U+FFFD, one for each maximal broken part (the Unicode standard's recommended practice,
// which Rust and Python follow too). Thread-safe; no state.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace volery::text {

struct CodePoint {
  uint32_t value;
  uint32_t length;  // bytes
};

// The code point at `position` of valid UTF-8; position < text.size().
inline CodePoint CodePointAt(std::string_view text, size_t position) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + position;
  if (p[0] < 0x80) return {p[0], 1};
  if (p[0] < 0xE0) return {(p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu), 2};
  if (p[0] < 0xF0) return {(p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu), 3};
  return {(p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu), 4};
}

// The start of the character that ends at `position` (> 0) of valid UTF-8.
inline size_t CharacterBefore(std::string_view text, size_t position) {
  do --position;
  while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0) == 0x80);
  return position;
}

void AppendUtf8(uint32_t code_point, std::string* out);
bool IsValidUtf8(std::string_view bytes);
std::string ReplaceInvalidUtf8(std::string_view bytes);
// Length of a trailing, not yet complete character (0 to 3 bytes) that further bytes could still complete.
size_t IncompleteUtf8Tail(std::string_view bytes);

}  // namespace volery::text
