#pragma once
// Character classes (letter, number, white space) and NFC, by the Unicode version that Hugging Face
// tokenizers 0.23 uses (16; utf8proc's tables plus what was added since). Thread-safe; tables are built at
// first use.

#include <cstdint>
#include <string>
#include <string_view>

namespace volery::text {

enum CharacterClass : uint8_t {
  kLetter = 1,    // \p{L}
  kNumber = 2,    // \p{N}
  kSpace = 4,     // White_Space
  kNewline = 8,   // carriage return, line feed
  kWord = 16,     // \w: alphabetic, marks, decimal digits, connectors, joiners
  kNumeric = 32,  // what the Digits step calls a digit: \p{N} by a newer Unicode version
};

// One byte of CharacterClass bits per code point, 0x110000 of them.
const uint8_t* CharacterClasses();

// Canonical composition of valid UTF-8. NeedsNfc is a fast check that may say true for text that is composed
// already.
bool NeedsNfc(std::string_view text);
std::string Nfc(std::string_view text);

}  // namespace volery::text
