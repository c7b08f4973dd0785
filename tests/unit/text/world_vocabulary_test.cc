#include "core/text/world_vocabulary.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/text/world_tokenizer.h"

namespace volery::text {
namespace {

// Lines for the 256 single bytes, ids 1 to 256.
std::vector<std::string> SingleBytes(bool numbered = true) {
  std::vector<std::string> lines;
  for (int byte = 0; byte < 256; ++byte) {
    char literal[16];
    std::snprintf(literal, sizeof literal, "b'\\x%02x'", byte);
    lines.push_back(numbered ? Cat(byte + 1, " ", literal, " 1") : literal);
  }
  return lines;
}

std::string File(const std::vector<std::string>& lines, const std::string& end = "\n") {
  std::string file;
  for (const std::string& line : lines) file += line + end;
  return file;
}

// The tokens from id 257 on that these lines give.
std::vector<std::string> Tokens(const std::vector<std::string>& lines) {
  std::vector<std::string> all = SingleBytes();
  all.insert(all.end(), lines.begin(), lines.end());
  const auto read = ReadWorldVocabulary(File(all), "v.txt");
  EXPECT_TRUE(read.ok()) << read.status();
  if (!read.ok()) return {};
  return {read->tokens.begin() + 257, read->tokens.end()};
}

// What is wrong with one line, as line 257 after those of the single bytes.
std::string Refusal(const std::string& line) {
  std::vector<std::string> all = SingleBytes();
  all.push_back(line);
  const auto read = ReadWorldVocabulary(File(all), "v.txt");
  return read.ok() ? "" : Message(read.status());
}

TEST(WorldVocabulary, ReadsPythonLiterals) {
  EXPECT_EQ(
      Tokens({"257 'ab' 2", "258 \"it's\" 4", "259 ' x y ' 5", "260 '\\n\\t\\r\\\\' 4", "261 '\\'\\\"' 2"}),
      (std::vector<std::string>{"ab", "it's", " x y ", "\n\t\r\\", "'\""}));
  EXPECT_EQ(Tokens({"257 b'\\xe4\\xb8' 2", "258 b\"'\\\\x\" 3", "259 '\\xe9' 2", "260 '\\u200b' 3",
                    "261 '\\U0001f600' 4", "262 '\xE4\xB8\xAD' 3"}),
            (std::vector<std::string>{"\xE4\xB8", "'\\x", "\xC3\xA9", "\xE2\x80\x8B", "\xF0\x9F\x98\x80",
                                      "\xE4\xB8\xAD"}));
}

TEST(WorldVocabulary, TakesBothLineEndsAndAMissingLastOne) {
  std::vector<std::string> lines = SingleBytes();
  lines.push_back("257 'ab' 2");
  const std::string unix_file = File(lines), dos_file = File(lines, "\r\n");
  for (const std::string& file :
       {unix_file, dos_file, unix_file.substr(0, unix_file.size() - 1),
        dos_file.substr(0, dos_file.size() - 2), dos_file.substr(0, dos_file.size() - 1)}) {
    const auto read = ReadWorldVocabulary(file, "v.txt");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->tokens.size(), 258u);
    EXPECT_EQ(read->tokens[257], "ab");
    EXPECT_TRUE(read->numbered);
  }
}

TEST(WorldVocabulary, ReadsTheBareLayout) {
  std::vector<std::string> lines = SingleBytes(false);
  lines.insert(lines.begin(), "b'<s>'");
  lines.push_back("b'ab'");
  const auto made = WorldTokenizer(File(lines), "vocab.txt");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->Encode("aab"), (std::vector<int32_t>{98, 257}));
  EXPECT_EQ((*made)->IdOf("<s>"), std::nullopt);
  EXPECT_EQ((*made)->Files().at("vocab.txt"), File(lines));
  EXPECT_TRUE(LooksLikeWorldVocabulary(File(lines)));
}

TEST(WorldVocabulary, NamesTheLineAndWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "is not '<id> <token> <bytes>'"},
      {"257 'a'", "is not '<id> <token> <bytes>'"},
      {"x 'ab' 2", "with two numbers"},
      {"257 'ab' two", "with two numbers"},
      {"-257 'ab' 2", "with two numbers"},
      {"0 'ab' 2", "id 0, which is the end of a document"},
      {"258 'ab' 2", "id 258 where 257 is due"},
      {"256 'ab' 2", "id 256 again: line 256 has it"},
      {"65536 'ab' 2", "id 65536 is above 65535"},
      {"257 'ab' 3", "says 3 bytes, but its token has 2"},
      {"257 '\\xe9' 1", "says 1 bytes, but its token has 2"},
      {"257 '' 0", "its token is empty"},
      {"257 'a' 1", "the same token as line 98"},
      {"257 ab 2", "no Python literal in quotes"},
      {"257 'ab\" 2", "no Python literal in quotes"},
      {"257 ' 1", "no Python literal in quotes"},
      {"257 'a'b' 3", "ends before the line's last quote"},
      {"257 'ab\\' 2", "unknown escape \\"},
      {"257 '\\a' 1", "unknown escape \\a"},
      {"257 '\\101' 1", "unknown escape \\101"},
      {"257 b'\\u200b' 3", "unknown escape \\u200b"},
      {"257 '\\x4' 1", "without its 2 hexadecimal digits"},
      {"257 '\\x+4' 1", "without its 2 hexadecimal digits"},
      {"257 '\\u12g4' 3", "without its 4 hexadecimal digits"},
      {"257 '\\ud800' 3", "no code point"},
      {"257 '\\U00110000' 4", "no code point"},
      {"257 'a\tb' 3", "control character stands unescaped"},
      {"257 b'\xC3\xA9' 2", "beyond ASCII"},
      {"257 'a\xFF' 2", "not UTF-8"},
  };
  for (const auto& [line, part] : cases) {
    const std::string refusal = Refusal(line);
    EXPECT_TRUE(refusal.starts_with("v.txt:257: ")) << line << ": " << refusal;
    EXPECT_NE(refusal.find(part), std::string::npos) << line << ": " << refusal;
  }
}

TEST(WorldVocabulary, RefusesFilesThatLackWhatEveryTextNeeds) {
  std::vector<std::string> lines = SingleBytes();
  lines.pop_back();
  EXPECT_NE(Message(ReadWorldVocabulary(File(lines), "v.txt").status())
                .find("v.txt: holds no token for the single byte 255"),
            std::string::npos);
  EXPECT_NE(Message(ReadWorldVocabulary("", "v.txt").status()).find("v.txt: holds no tokens"),
            std::string::npos);
  EXPECT_NE(Message(ReadWorldVocabulary("[PAD]\n[UNK]\n", "v.txt").status())
                .find("v.txt:1: the token is no Python literal"),
            std::string::npos);
}

TEST(WorldVocabulary, TellsItsFilesFromOthers) {
  EXPECT_TRUE(LooksLikeWorldVocabulary("1 '\\x00' 1\r\n2"));
  EXPECT_TRUE(LooksLikeWorldVocabulary("b'<s>'\n"));
  for (const char* text : {"", "[PAD]\n", "#version: 0.2\n", "1 a 1\n", "{\"a\": 1}"})
    EXPECT_FALSE(LooksLikeWorldVocabulary(text));
}

}  // namespace
}  // namespace volery::text
