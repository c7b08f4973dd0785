#include "core/text/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <vector>

#include "core/base/status.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr uint32_t kCodePoints = 0x110000;

struct Range {
  uint32_t first, last;
};

// Letters and numbers of Unicode 15.1 and 16 that older utf8proc releases call unassigned.
constexpr Range kNewLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105C9}, {0x105CA, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3},
    {0x11BC0, 0x11BE0}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF},
    {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
};
constexpr Range kNewNumbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
};
// Numbers of Unicode 17.
constexpr Range kNewerNumeric[] = {{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}};
constexpr Range kSpaces[] = {{0x9, 0xD},       {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                             {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                             {0x205F, 0x205F}, {0x3000, 0x3000}};
// Alphabetic symbols outside the letter categories, and the joiners.
constexpr Range kOtherWord[] = {
    {0x200C, 0x200D}, {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

template <size_t n>
void Mark(const Range (&ranges)[n], uint8_t bits, std::vector<uint8_t>* table) {
  for (const Range& range : ranges) {
    for (uint32_t c = range.first; c <= range.last; ++c) (*table)[c] |= bits;
  }
}

uint8_t ClassOfCategory(utf8proc_category_t category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kLetter | kWord;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      return kNumber | kNumeric | kWord;
    case UTF8PROC_CATEGORY_NO:
      return kNumber | kNumeric;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_PC:
      return kWord;
    default:
      return 0;
  }
}

std::vector<uint8_t> MakeClasses() {
  std::vector<uint8_t> table(kCodePoints, 0);
  for (uint32_t c = 0; c < kCodePoints; ++c) {
    table[c] = ClassOfCategory(utf8proc_category(static_cast<utf8proc_int32_t>(c)));
  }
  Mark(kNewLetters, kLetter | kWord, &table);
  Mark(kNewNumbers, kNumber | kNumeric | kWord, &table);
  Mark(kNewerNumeric, kNumeric, &table);
  Mark(kSpaces, kSpace, &table);
  Mark(kOtherWord, kWord, &table);
  table['\r'] |= kNewline;
  table['\n'] |= kNewline;
  return table;
}

std::string Compose(const std::string& text) {
  utf8proc_uint8_t* composed = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &composed, options);
  VOLERY_CHECK(size >= 0);  // the text is valid UTF-8, so only memory can be missing
  std::string out(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
  std::free(composed);
  return out;
}

// True for code points that composition may change or that may change what stands before them: combining
// classes, second halves of composed characters, and characters whose composed form is another one.
std::vector<bool> MakeNfcUnsafe() {
  std::vector<bool> unsafe(kCodePoints, false);
  for (uint32_t c = 0x300; c < kCodePoints; ++c) {
    const auto code_point = static_cast<utf8proc_int32_t>(c);
    const utf8proc_property_t* property = utf8proc_get_property(code_point);
    if (property->combining_class != 0) unsafe[c] = true;
    const bool hangul = c >= 0xAC00 && c <= 0xD7A3;
    if (property->decomp_seqindex == UINT16_MAX && !hangul) continue;
    utf8proc_int32_t parts[64];
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(code_point, parts, 64, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 1; i < count && i < 64; ++i) unsafe[static_cast<uint32_t>(parts[i])] = true;
    if (hangul) continue;
    std::string alone;
    AppendUtf8(c, &alone);
    if (Compose(alone) != alone) unsafe[c] = true;
  }
  return unsafe;
}

}  // namespace

const uint8_t* CharacterClasses() {
  static const std::vector<uint8_t> table = MakeClasses();
  return table.data();
}

bool NeedsNfc(std::string_view text) {
  static const std::vector<bool> unsafe = MakeNfcUnsafe();
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      ++at;
      continue;
    }
    const CodePoint c = CodePointAt(text, at);
    if (unsafe[c.value]) return true;
    at += c.length;
  }
  return false;
}

std::string Nfc(std::string_view text) {
  // utf8proc takes U+11A7 for a Hangul final and drops it. It composes with nothing, so the text may be cut
  // there.
  constexpr std::string_view kNoFinal = "\xE1\x86\xA7";
  std::string out;
  for (size_t at = text.find(kNoFinal); at != std::string_view::npos; at = text.find(kNoFinal)) {
    out += Compose(std::string(text.substr(0, at)));
    out += kNoFinal;
    text.remove_prefix(at + kNoFinal.size());
  }
  return out + Compose(std::string(text));
}

}  // namespace volery::text
