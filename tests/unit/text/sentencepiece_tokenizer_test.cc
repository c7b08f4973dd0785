#include "core/text/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/text/stream_decoder.h"
#include "core/text/tokenizer_files.h"
#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

constexpr const char* kModels[] = {"sp_unigram", "sp_bpe", "sp_bytes"};

std::shared_ptr<Tokenizer> Open(const std::string& bytes, const SentencePieceOptions& options = {}) {
  const auto made = SentencePieceTokenizer(bytes, "some.model", options);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

std::string Refusal(const std::string& bytes) {
  const auto made = SentencePieceTokenizer(bytes, "some.model", {});
  return made.ok() ? "" : Message(made.status());
}

// The package gives one U+FFFD for each broken byte, we one for each broken part.
std::string WithRunsAsOne(std::string text) {
  const std::string two = "\xEF\xBF\xBD\xEF\xBF\xBD";
  for (size_t at = text.find(two); at != std::string::npos; at = text.find(two, at)) text.erase(at, 3);
  return text;
}

TEST(SentencePieceTokenizer, GivesTheIdsAndTextsOfThePackage) {
  for (const std::string name : kModels) {
    const auto tokenizer = Open(GoldenText(name + ".model"));
    ASSERT_NE(tokenizer, nullptr);
    ExpectGoldenRows(*tokenizer, nlohmann::json::parse(GoldenText(name + ".ids.json"))["rows"], name);
  }
}

TEST(SentencePieceTokenizer, DecodesAnyIdsAsThePackageDoes) {
  for (const std::string name : kModels) {
    const auto tokenizer = Open(GoldenText(name + ".model"));
    ASSERT_NE(tokenizer, nullptr);
    const auto golden = nlohmann::json::parse(GoldenText(name + ".ids.json"))["decodes"];
    ASSERT_GE(golden.size(), 300u);
    for (const auto& row : golden) {
      const auto ids = row["ids"].get<std::vector<int32_t>>();
      const std::string text = tokenizer->Decode(ids, false);
      EXPECT_EQ(WithRunsAsOne(text), WithRunsAsOne(row["text"])) << name << " " << row["ids"].dump();
      StreamDecoder stream(tokenizer, false);
      std::string joined;
      for (const int32_t id : ids) joined += stream.Push(id);
      EXPECT_EQ(joined + stream.Finish(), text) << name << " " << row["ids"].dump();
    }
  }
}

TEST(SentencePieceTokenizer, KnowsItsPieces) {
  const auto tokenizer = Open(GoldenText("sp_bpe.model"));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->IdOf("<s>"), 1);
  EXPECT_TRUE(tokenizer->IsSpecial(1));
  EXPECT_EQ(tokenizer->TokenBytes(1), "");
  EXPECT_EQ(tokenizer->Content(1), "<s>");
  const std::optional<int32_t> byte = tokenizer->IdOf("<0x0A>");
  ASSERT_TRUE(byte.has_value());
  EXPECT_EQ(tokenizer->TokenBytes(*byte), "\n");
  EXPECT_FALSE(tokenizer->IsSpecial(*byte));
  EXPECT_FALSE(tokenizer->IdOf("nothing of the kind").has_value());
  for (const int32_t id : {-1, tokenizer->size(), INT32_MAX}) {
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_EQ(tokenizer->Content(id), "");
  }
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{-1, tokenizer->size()}, false), "");
}

TEST(SentencePieceTokenizer, AddsWhatItIsTold) {
  const auto plain = Open(GoldenText("sp_bpe.model"));
  const auto tokenizer = Open(GoldenText("sp_bpe.model"), {.add_bos = true, .add_eos = true});
  ASSERT_TRUE(plain != nullptr && tokenizer != nullptr);
  std::vector<int32_t> ids = plain->Encode("hello");
  ids.insert(ids.begin(), 1);
  ids.push_back(2);
  EXPECT_EQ(tokenizer->Encode("hello"), ids);
  EXPECT_EQ(tokenizer->Encode("hello", {.add_special = false}), plain->Encode("hello"));
  EXPECT_EQ(tokenizer->Decode(ids, true), "hello");
}

TEST(SentencePieceTokenizer, TakesBrokenUtf8AsReplacementCharacters) {
  const auto tokenizer = Open(GoldenText("sp_bpe.model"));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("a\xFFz"), tokenizer->Encode("a\xEF\xBF\xBDz"));
}

TEST(SentencePieceTokenizer, GivesItsModelAsFile) {
  const std::string model = GoldenText("sp_bpe.model");
  const auto tokenizer = Open(model, {.add_bos = true});
  ASSERT_NE(tokenizer, nullptr);
  TokenizerFilesOptions options;
  options.eos = 2;
  const auto files = MakeTokenizerFiles(*tokenizer, options);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 2u);
  EXPECT_EQ(files->at("tokenizer.model"), model);
  const auto config = nlohmann::json::parse(files->at("tokenizer_config.json"));
  EXPECT_EQ(config["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_EQ(config["eos_token"], "</s>");
}

// A protocol buffer's field: bytes, a varint, a float.
std::string Bytes(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}
std::string Varint(int number, int value) {
  return number < 16 ? std::string{static_cast<char>(number << 3), static_cast<char>(value)}
                     : std::string{static_cast<char>((number << 3 & 0x7F) | 0x80),
                                   static_cast<char>(number >> 4), static_cast<char>(value)};
}
std::string Piece(const std::string& text, int kind, const std::string& score = std::string("\0\0\0\0", 4)) {
  return Bytes(1, Bytes(1, text) + "\x15" + score + Varint(3, kind));
}
const std::string kUnk = Piece("<unk>", 2);

TEST(SentencePieceTokenizer, ReadsAModelWrittenByHand) {
  const auto tokenizer = Open(kUnk +
                              Piece("\xE2\x96\x81"
                                    "a",
                                    1) +
                              Piece("b", 1) + Bytes(3, Varint(3, 1)));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("abc"), (std::vector<int32_t>{1, 2, 0}));
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{1, 2, 0}, false), "ab \xE2\x81\x87 ");
}

TEST(SentencePieceTokenizer, RefusesWhatTheLibraryWouldTrust) {
  const auto expect = [](const std::string& bytes, const std::string& part) {
    EXPECT_NE(Refusal(bytes).find(part), std::string::npos) << part << ": " << Refusal(bytes);
    EXPECT_TRUE(Refusal(bytes).starts_with("some.model: "));
  };
  expect("", "is empty");
  expect("no model at all", "not a protocol buffer");
  expect(std::string(100, '\xFF'), "not a protocol buffer");
  expect(Piece("a", 1), "0 unknown pieces");
  expect(kUnk + Piece("u", 2), "2 unknown pieces");
  expect(kUnk + Piece("", 1), "piece 1 is empty");
  expect(kUnk + Piece("\xFF", 1), "piece 1 is no UTF-8");
  expect(kUnk + Piece(std::string("a\0b", 3), 1), "piece 1 is no UTF-8");
  expect(kUnk + Piece("a", 1) + Piece("a", 1), "piece 2 again: 'a'");
  expect(kUnk + Piece("a", 9), "unknown type 9");
  expect(kUnk + Piece("a", 1, std::string("\0\0\xC0\x7F", 4)), "has the score nan");
  expect(kUnk + Piece("a", 1, std::string("\0\0\x80\x7F", 4)), "has the score inf");
  expect(kUnk + Piece("<0x0G>", 6), "names no byte");
  expect(kUnk + Piece("<0x0A>", 6), "doesn't fall back on bytes");
  expect(kUnk + Bytes(2, Varint(35, 1)), "has 0 of the 256 byte pieces");
  expect(kUnk + Bytes(2, Varint(3, 3)), "model type 3");
  expect(kUnk + Bytes(2, Varint(24, 1)), "white space behind words");
  expect(kUnk + Piece("x", 3) + Bytes(2, Varint(3, 2)), "the single character 'x' is a control piece");
  expect(kUnk + Bytes(5, Bytes(2, "x")), "denormalizer_spec");
  // A table of 256 units whose root points 256 further; then one whose leaf points behind the texts.
  const auto table = [](uint32_t root, uint32_t leaf, const std::string& texts) {
    std::string out("\0\4\0\0", 4);
    for (int i = 0; i < 256; ++i) {
      const uint32_t unit = i == 0 ? root : i == 1 ? leaf : 0;
      for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(unit >> shift);
    }
    return kUnk + Piece("a", 1) + "\x1A\x89\x08\x12\x86\x08" + out + texts;
  };
  EXPECT_NE(Open(table(1 << 10 | 1 << 8, 1u << 31 | 1, std::string("a\0", 2))), nullptr);
  expect(table(256 << 10, 0, std::string("a\0", 2)), "an offset leaves its array");
  expect(table(1 << 10 | 1 << 8, 1u << 31 | 2, std::string("a\0", 2)), "an offset leaves its texts");
  expect(table(1 << 10, 0, std::string("ab", 2)), "its texts don't end");
}

TEST(SentencePieceTokenizer, RefusesEveryBeginningOfAModel) {
  const std::string model = GoldenText("sp_unigram.model");
  const auto whole = Open(model);
  ASSERT_NE(whole, nullptr);
  for (size_t size = 0; size < model.size(); size += 97) {
    const auto made = SentencePieceTokenizer(model.substr(0, size), "cut", {});
    if (made.ok()) {
      EXPECT_LT((*made)->size(), whole->size()) << size;  // cut between two pieces
    }
  }
}

}  // namespace
}  // namespace volery::text
