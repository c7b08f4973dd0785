#include "core/text/simple_tokenizers.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/text/stream_decoder.h"
#include "core/text/tokenizer_files.h"
#include "core/text/tokenizer_json.h"

namespace volery::text {
namespace {

using Ids = std::vector<int32_t>;

std::shared_ptr<Tokenizer> Reread(const Tokenizer& tokenizer) {
  const auto made = BpeFromTokenizerJson(tokenizer.Files().at("tokenizer.json"), "written.json");
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

TEST(BytesTokenizer, IdsAreBytes) {
  const auto tokenizer = BytesTokenizer();
  EXPECT_EQ(tokenizer->size(), 259);
  EXPECT_EQ(tokenizer->Encode("a\n\xC3\xA9<|eos|>"), (Ids{'a', '\n', 0xC3, 0xA9, 257}));
  EncodeOptions plain;
  plain.parse_special = false;
  EXPECT_EQ(tokenizer->Encode("<|eos|>", plain).size(), 7u);
  EXPECT_EQ(tokenizer->Decode(Ids{256, 'h', 'i', 257}, true), "hi");
  EXPECT_EQ(tokenizer->Decode(Ids{'h', 0xC3, 'i'}, true), "h\xEF\xBF\xBDi");
  EXPECT_EQ(tokenizer->IdOf(kPadContent), 258);
}

TEST(BytesTokenizer, ReadsBackWhatItWrites) {
  const auto tokenizer = BytesTokenizer(), again = Reread(*BytesTokenizer());
  ASSERT_NE(again, nullptr);
  std::string all;
  for (int byte = 1; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& text : {all, std::string("<|bos|>x <|eos|>"), std::string()}) {
    EXPECT_EQ(again->Encode(text), tokenizer->Encode(text));
  }
  EXPECT_EQ(again->size(), tokenizer->size());
}

TEST(CharactersTokenizer, IdsAreTheAlphabetsOrder) {
  const auto made = CharactersTokenizer("ba \xC3\xA9");
  ASSERT_TRUE(made.ok()) << made.status();
  const Tokenizer& tokenizer = **made;
  EXPECT_EQ(tokenizer.size(), 8);
  EXPECT_EQ(tokenizer.Encode("ab \xC3\xA9?<|eos|>"), (Ids{1, 0, 2, 3, 7, 5}));
  EXPECT_EQ(tokenizer.Decode(Ids{4, 1, 0, 7, 3, 5}, true), "ab\xC3\xA9");
  EXPECT_EQ(tokenizer.Decode(Ids{1, 7}, false), "a<|unk|>");
  const auto again = Reread(tokenizer);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->Encode("ab?? <|bos|>"), tokenizer.Encode("ab?? <|bos|>"));
  EXPECT_EQ(again->size(), 8);
}

TEST(CharactersTokenizer, RefusesBadAlphabets) {
  EXPECT_NE(Message(CharactersTokenizer("").status()).find("alphabet is empty"), std::string::npos);
  EXPECT_NE(Message(CharactersTokenizer("aba").status()).find("'a' twice, at bytes 0 and 2"),
            std::string::npos);
  EXPECT_NE(Message(CharactersTokenizer("a\xFF").status()).find("not UTF-8"), std::string::npos);
}

TEST(StreamDecoder, HoldsBackUnfinishedCharactersAndAddsUpToDecode) {
  const auto tokenizer = BytesTokenizer();
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.Push('a'), "a");
  EXPECT_EQ(decoder.Push(0xF0), "");
  EXPECT_EQ(decoder.Push(0x9F), "");
  EXPECT_EQ(decoder.Push(257), "");  // special: neither shown nor in the way
  EXPECT_EQ(decoder.Push(0x98), "");
  EXPECT_EQ(decoder.Push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.Push(0xE4), "");
  EXPECT_EQ(decoder.Push('b'),
            "\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(decoder.Push(0xC3), "");
  EXPECT_EQ(decoder.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(decoder.Finish(), "");

  uint32_t state = 7;
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (int i = 0; i < 12; ++i) {
      state = state * 1664525u + 1013904223u;
      ids.push_back(static_cast<int32_t>(state >> 24) % 259);
    }
    StreamDecoder stream(tokenizer, false);
    std::string joined;
    for (const int32_t id : ids) joined += stream.Push(id);
    joined += stream.Finish();
    ASSERT_EQ(joined, tokenizer->Decode(ids, false));
  }
}

TEST(TokenizerFiles, NamesTokensByContent) {
  TokenizerFilesOptions options;
  options.bos = 256;
  options.eos = 257;
  options.chat_template = "{{ x }}";
  options.max_length = 512;
  const auto files = MakeTokenizerFiles(*BytesTokenizer(), options);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 3u);
  const auto config = nlohmann::json::parse(files->at("tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "<|eos|>");
  EXPECT_EQ(config["model_max_length"], 512);
  EXPECT_FALSE(config.contains("pad_token"));
  EXPECT_EQ(files->at("chat_template.jinja"), "{{ x }}");
  options.pad = 259;
  EXPECT_NE(Message(MakeTokenizerFiles(*BytesTokenizer(), options).status()).find("pad_token has id 259"),
            std::string::npos);
}

}  // namespace
}  // namespace volery::text
