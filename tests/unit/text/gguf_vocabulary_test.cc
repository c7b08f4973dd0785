#include "core/text/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include "core/formats/gguf.h"
#include "core/text/byte_level.h"
#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

// All bytes as ids 0 to 255, then a few merged tokens and two added ones.
GgufVocabulary Small(const std::string& pre) {
  GgufVocabulary vocabulary;
  vocabulary.where = "m.gguf";
  vocabulary.model = "gpt2";
  vocabulary.pre = pre;
  for (int byte = 0; byte < 256; ++byte)
    vocabulary.tokens.push_back(SpellBytes(std::string(1, static_cast<char>(byte))));
  const std::string space = SpellBytes(" ");
  for (const std::string& token : {space + space, std::string("12"), space + "1", std::string("<eos>"),
                                   std::string("<note>"), std::string("[PAD]")}) {
    vocabulary.tokens.push_back(token);
  }
  vocabulary.types.assign(256 + 3, 1);
  vocabulary.types.insert(vocabulary.types.end(), {3, 4, 5});
  vocabulary.merges = {space + " " + space, "1 2", space + " 1"};
  vocabulary.bos = vocabulary.eos = 259;
  return vocabulary;
}

std::vector<int32_t> Ids(const GgufVocabulary& vocabulary, const std::string& text) {
  const auto made = BpeFromGguf(vocabulary);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? (*made)->Encode(text) : std::vector<int32_t>{-1};
}

TEST(GgufVocabulary, ThePreTokenizersNameDecidesHowDigitsAndSpacesSplit) {
  EXPECT_EQ(Ids(Small("smollm"), "x  12"), (std::vector<int32_t>{'x', 256, '1', '2'}));
  EXPECT_EQ(Ids(Small("gpt-2"), "x  12"),
            (std::vector<int32_t>{'x', ' ', ' ', 257}));  // "12" ranks before " 1"
  EXPECT_EQ(Ids(Small("gpt-2"), "x 1"), (std::vector<int32_t>{'x', 258}));
  EXPECT_EQ(Ids(Small("qwen2"), "x  12"), (std::vector<int32_t>{'x', ' ', ' ', '1', '2'}));
  EXPECT_EQ(Ids(Small("llama-bpe"), "x  12"), (std::vector<int32_t>{259, 'x', ' ', ' ', 257}));
  EXPECT_EQ(Ids(Small("qwen2"), "e\xCC\x81"), (std::vector<int32_t>{0xC3, 0xA9}));
}

TEST(GgufVocabulary, TokenTypesDecideWhatIsSpecial) {
  const auto made = BpeFromGguf(Small("smollm"));
  ASSERT_TRUE(made.ok()) << made.status();
  const std::vector<int32_t> ids = (*made)->Encode("a<eos><note>");
  EXPECT_EQ(ids, (std::vector<int32_t>{'a', 259, 260}));
  EXPECT_EQ((*made)->Decode(ids, true), "a<note>");
  EXPECT_EQ((*made)->size(), 261);  // the unused token at the end is left out
}

TEST(GgufVocabulary, FlagsOfTheFileDecideWhatIsAdded) {
  GgufVocabulary vocabulary = Small("llama-bpe");
  vocabulary.add_bos = false;
  vocabulary.add_eos = true;
  EXPECT_EQ(Ids(vocabulary, "a"), (std::vector<int32_t>{'a', 259}));
}

TEST(GgufVocabulary, NamesTheFileAndTheEntryThatIsWrong) {
  const auto expect = [](const GgufVocabulary& vocabulary, const std::string& part) {
    const auto made = BpeFromGguf(vocabulary);
    ASSERT_FALSE(made.ok()) << part;
    const std::string message(Message(made.status()));
    EXPECT_EQ(message.rfind("m.gguf: ", 0), 0u) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  GgufVocabulary bad = Small("smollm");
  bad.pre = "jina-v2";
  expect(bad, "tokenizer.ggml.pre is 'jina-v2'");
  bad = Small("smollm");
  bad.model = "llama";
  expect(bad, "tokenizer.ggml.model is 'llama'");
  bad = Small("smollm");
  bad.merges.clear();
  expect(bad, "tokenizer.ggml.merges is absent");
  bad = Small("smollm");
  bad.merges[1] = "12";
  expect(bad, "merges[1] is '12'");
  bad = Small("smollm");
  bad.merges[1] = "1 q2";
  expect(bad, "merges[1] is '1 q2'");
  bad = Small("smollm");
  bad.types.pop_back();
  expect(bad, "token_type has 261 entries for 262 tokens");
  bad = Small("smollm");
  bad.tokens[3] = bad.tokens[4];
  expect(bad, "ids 3 and 4 are the same token");
  bad = Small("smollm");
  bad.tokens[7] = "\xFF";
  expect(bad, "token 7 is not UTF-8");
  bad = Small("llama-bpe");
  bad.bos.reset();
  expect(bad, "tokenizer.ggml.bos_token_id is absent");
  bad = Small("smollm");
  bad.tokens.clear();
  expect(bad, "tokenizer.ggml.tokens is absent");
}

// The real vocabulary against Hugging Face tokenizers (recorded); the model file is what bootstrap.sh
// fetched.
TEST(GgufVocabulary, SmolLm2EqualsHuggingFace) {
  const std::string path = std::string(VOLERY_SOURCE_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto file = base::MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status() << "; ./bootstrap.sh build fetches the model";
  const auto view = formats::ParseGguf((*file)->bytes(), path);
  ASSERT_TRUE(view.ok()) << view.status();
  GgufVocabulary vocabulary;
  vocabulary.where = path;
  vocabulary.model = *view->String("tokenizer.ggml.model");
  vocabulary.pre = *view->String("tokenizer.ggml.pre");
  vocabulary.tokens = *view->Strings("tokenizer.ggml.tokens");
  vocabulary.merges = *view->Strings("tokenizer.ggml.merges");
  const std::vector<int64_t> types = *view->Ints("tokenizer.ggml.token_type");
  vocabulary.types.assign(types.begin(), types.end());
  vocabulary.bos = static_cast<int32_t>(*view->Int("tokenizer.ggml.bos_token_id"));
  vocabulary.add_bos = *view->Bool("tokenizer.ggml.add_bos_token");
  const auto made = BpeFromGguf(vocabulary);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->size(), 49152);
  EXPECT_EQ((*made)->IdOf("<|im_end|>"), 2);
  ExpectGoldenRows(**made, "smollm2.ids.json");
}

}  // namespace
}  // namespace volery::text
