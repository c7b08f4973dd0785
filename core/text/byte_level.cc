#include "core/text/byte_level.h"

#include <array>

#include "core/text/utf8.h"

namespace volery::text {
namespace {

struct Map {
  std::array<uint32_t, 256> to_code_point{};
  std::array<int16_t, 324> to_byte{};  // the highest is U+0100 + 67
  Map() {
    to_byte.fill(-1);
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      to_code_point[byte] = printable ? byte : next++;
      to_byte[to_code_point[byte]] = static_cast<int16_t>(byte);
    }
  }
};

const Map& ByteMap() {
  static const Map map;
  return map;
}

}  // namespace

uint32_t ByteToCodePoint(uint8_t byte) {
  return ByteMap().to_code_point[byte];
}

std::string SpellBytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) AppendUtf8(ByteToCodePoint(static_cast<uint8_t>(c)), &out);
  return out;
}

std::optional<std::string> UnspellBytes(std::string_view token) {
  const Map& map = ByteMap();
  std::string out;
  out.reserve(token.size());
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = CodePointAt(token, at);
    if (c.value >= map.to_byte.size() || map.to_byte[c.value] < 0) return std::nullopt;
    out.push_back(static_cast<char>(map.to_byte[c.value]));
    at += c.length;
  }
  return out;
}

}  // namespace volery::text
