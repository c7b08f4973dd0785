#pragma once
// GPT-2's spelling of bytes as printable characters, in which byte-level vocabularies are written: 188 bytes
// stand for themselves as code points, the other 68 are U+0100, U+0101, ... in order. Thread-safe; no state.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace volery::text {

uint32_t ByteToCodePoint(uint8_t byte);
std::string SpellBytes(std::string_view bytes);
// The bytes of a spelled token; nullopt when it holds a character that spells no byte. Valid UTF-8 only.
std::optional<std::string> UnspellBytes(std::string_view token);

}  // namespace volery::text
