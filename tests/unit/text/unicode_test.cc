#include "core/text/unicode.h"

#include <gtest/gtest.h>

#include "core/text/utf8.h"

namespace volery::text {
namespace {

std::string Text(std::initializer_list<uint32_t> code_points) {
  std::string text;
  for (const uint32_t c : code_points) AppendUtf8(c, &text);
  return text;
}

TEST(Unicode, ClassesOfCharactersFromManyScripts) {
  const uint8_t* classes = CharacterClasses();
  for (const uint32_t c :
       {0x41u, 0xE9u, 0x416u, 0x5D0u, 0x905u, 0x3042u, 0x4E00u, 0xAC00u, 0x20000u, 0x105C0u, 0x1C8Au}) {
    EXPECT_TRUE(classes[c] & kLetter) << std::hex << c;
  }
  for (const uint32_t c : {0x30u, 0xB2u, 0xBDu, 0x663u, 0x2167u, 0x1D7CEu, 0x10D40u}) {
    EXPECT_TRUE(classes[c] & kNumber && classes[c] & kNumeric) << std::hex << c;
  }
  for (const uint32_t c : {0x20u, 0x0Bu, 0x85u, 0xA0u, 0x1680u, 0x2028u, 0x3000u})
    EXPECT_EQ(classes[c] & kSpace, kSpace);
  for (const uint32_t c : {0x180Eu, 0x200Bu, 0xFEFFu, 0x301u, 0x1F600u, 0x2Eu}) {
    EXPECT_FALSE(classes[c] & (kSpace | kLetter | kNumber)) << std::hex << c;
  }
  EXPECT_EQ(classes[0x11DE0] & (kNumber | kNumeric), kNumeric);
}

TEST(Unicode, ComposesCanonically) {
  EXPECT_EQ(Nfc(Text({0x65, 0x301})), Text({0xE9}));
  EXPECT_EQ(Nfc(Text({0x1100, 0x1161, 0x11A8})), Text({0xAC01}));
  EXPECT_EQ(Nfc(Text({0x71, 0x307, 0x323})), Text({0x71, 0x323, 0x307}));
  EXPECT_EQ(Nfc(Text({0x212B})), Text({0xC5}));
  EXPECT_EQ(Nfc(Text({0x958})), Text({0x915, 0x93C}));  // excluded from composition
  EXPECT_EQ(Nfc(Text({0x65, 0x301, 0xAC00, 0x11A7, 0x65, 0x301})), Text({0xE9, 0xAC00, 0x11A7, 0xE9}));
  EXPECT_EQ(Nfc(std::string("a\0b", 3)), std::string("a\0b", 3));
}

// The fast check may only say no where composing changes nothing.
TEST(Unicode, TheFastCheckNeverMissesText) {
  int skipped = 0;
  for (const std::string& base :
       {std::string(), Text({0x61}), Text({0x9C7}), Text({0x1100, 0x1161}), Text({0xAC00}), Text({0x3046})}) {
    for (uint32_t c = 0x80; c < 0x30000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      const std::string text = base + Text({c});
      if (NeedsNfc(text)) continue;
      ++skipped;
      ASSERT_EQ(Nfc(text), text) << std::hex << c;
    }
  }
  EXPECT_GT(skipped, 900'000);
}

}  // namespace
}  // namespace volery::text
