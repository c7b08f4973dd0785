#include "core/text/utf8.h"

#include <cstring>

namespace volery::text {
namespace {

struct Sequence {
  size_t length;  // bytes consumed: a whole character, or the maximal broken part
  bool valid;
  bool cut;  // broken only because the bytes end here
};

// Reads one sequence of up to four bytes; the range of the second byte rules out overlong forms and
// surrogates.
Sequence ReadSequence(const unsigned char* p, size_t left) {
  const unsigned char lead = p[0];
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const size_t want = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (size_t i = 1; i < want; ++i) {
    if (i == left) return {i, false, true};
    if (p[i] < low || p[i] > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {want, true, false};
}

size_t AsciiPrefix(const unsigned char* p, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    std::memcpy(&word, p + i, 8);
    if (word & 0x8080808080808080ull) break;
  }
  while (i < size && p[i] < 0x80) ++i;
  return i;
}

}  // namespace

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | c >> 6));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | c >> 12));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | c >> 18));
    out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

bool IsValidUtf8(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t at = 0;
  while (at < bytes.size()) {
    at += AsciiPrefix(p + at, bytes.size() - at);
    if (at == bytes.size()) break;
    const Sequence sequence = ReadSequence(p + at, bytes.size() - at);
    if (!sequence.valid) return false;
    at += sequence.length;
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  std::string out;
  out.reserve(bytes.size());
  size_t at = 0;
  while (at < bytes.size()) {
    const Sequence sequence = ReadSequence(p + at, bytes.size() - at);
    if (sequence.valid) {
      out.append(bytes.substr(at, sequence.length));
    } else {
      out.append("\xEF\xBF\xBD");
    }
    at += sequence.length;
  }
  return out;
}

size_t IncompleteUtf8Tail(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const unsigned char byte = p[bytes.size() - back];
    if ((byte & 0xC0) == 0x80) continue;
    const Sequence sequence = ReadSequence(p + bytes.size() - back, back);
    return sequence.cut && sequence.length == back ? back : 0;
  }
  return 0;
}

}  // namespace volery::text
