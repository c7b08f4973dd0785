#include "core/policy/tokenizer_source.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/files.h"

namespace volery::policy {
namespace {

using testing::HasSubstr;

const std::string kGolden = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/text/";
const std::string kWorld =
    std::string(VOLERY_SOURCE_DIR) + "/third_party/rwkv_world/rwkv_vocab_v20230424.txt";

std::string Read(const std::string& path) {
  const auto text = base::ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

class Folder {
 public:
  void Put(const std::string& file, const std::string& bytes) {
    ASSERT_TRUE(base::WriteFileAtomic(folder_.File(file), bytes).ok());
  }
  const std::string& path() const { return folder_.path(); }
  StatusOr<TokenizerSource> Open() const { return OpenTokenizerSource(path()); }

 private:
  base::TemporaryFolder folder_;
};

void ExpectWorld(const StatusOr<TokenizerSource>& source) {
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(source->tokenizer->Encode("\n\n"), (std::vector<int32_t>{261}));
  EXPECT_EQ(source->eos, 0);
  EXPECT_EQ(source->pad, 0);
  EXPECT_FALSE(source->bos.has_value());
}

TEST(TokenizerSource, FindsTheWorldVocabularyOfTheProgram) {
  ExpectWorld(OpenTokenizerSource("world"));
}

TEST(TokenizerSource, OpensAWorldFileAndMakesItsFolder) {
  const auto source = OpenTokenizerSource(kWorld);
  ExpectWorld(source);
  const auto files = TokenizerFilesOf(*source, 4096);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->at("rwkv_vocab_v20230424.txt"), Read(kWorld));
  EXPECT_EQ(nlohmann::json::parse(files->at("tokenizer_config.json"))["model_max_length"], 4096);
  Folder folder;
  for (const auto& [name, bytes] : *files) folder.Put(name, bytes);
  ExpectWorld(folder.Open());
}

TEST(TokenizerSource, OpensRwkvFolders) {
  Folder folder;
  folder.Put("rwkv_vocab_v20230424.txt", Read(kWorld));
  folder.Put("hf_rwkv_tokenizer.py", "# code\n");
  folder.Put("tokenizer_config.json",
             R"({"bos_token": "<|rwkv_tokenizer_end_of_text|>", "eos_token": "\n\n", "chat_template": "x"})");
  EXPECT_TRUE(HoldsTokenizer(folder.path()));
  const auto source = folder.Open();
  ExpectWorld(source);
  EXPECT_EQ(source->chat_jinja, "x");
  const auto files = TokenizerFilesOf(*source, 4096);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->size(), 3u);
  EXPECT_EQ(files->at("hf_rwkv_tokenizer.py"), "# code\n");
}

TEST(TokenizerSource, TellsAWorldVocabTxtFromOthers) {
  Folder folder;
  folder.Put("vocab.txt", "[PAD]\n[UNK]\nthe\n");
  EXPECT_FALSE(HoldsTokenizer(folder.path()));
  EXPECT_THAT(Message(folder.Open().status()), HasSubstr("holds no tokenizer.json, nor tokenizer.model"));
  folder.Put("vocab.txt", Read(kWorld));
  EXPECT_TRUE(HoldsTokenizer(folder.path()));
  ExpectWorld(folder.Open());
  folder.Put("vocab.txt", "1 'a' 1\n3 'b' 1\n");
  EXPECT_THAT(Message(folder.Open().status()), HasSubstr("/vocab.txt:2: id 3 where 2 is due"));
}

TEST(TokenizerSource, OpensSentencePieceModels) {
  const auto plain = OpenTokenizerSource(kGolden + "sp_bpe.model");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->bos, 1);
  EXPECT_EQ(plain->eos, 2);
  EXPECT_EQ(plain->tokenizer->Encode("hello"), plain->tokenizer->Encode("hello", {.add_special = false}));
  Folder folder;
  folder.Put("tokenizer.model", Read(kGolden + "sp_bpe.model"));
  folder.Put("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "pad_token": "</s>"})");
  const auto llama = folder.Open();
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_EQ(llama->tokenizer->Encode("hello").front(), 1);
  EXPECT_EQ(llama->pad, 2);
  folder.Put("tokenizer_config.json",
             R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": true})");
  const auto told = folder.Open();
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_NE(told->tokenizer->Encode("hello").front(), 1);
  EXPECT_EQ(told->tokenizer->Encode("hello").back(), 2);
  folder.Put("added_tokens.json", R"({"<s>": 1, "<|extra|>": 640})");
  EXPECT_THAT(Message(folder.Open().status()), HasSubstr("adds '<|extra|>' to tokenizer.model"));
  folder.Put("tokenizer.model", "no model");
  EXPECT_THAT(Message(folder.Open().status()), HasSubstr("/tokenizer.model: is no SentencePiece model"));
}

TEST(TokenizerSource, PrefersATokenizerJson) {
  Folder folder;
  folder.Put("tokenizer.json", Read(kGolden + "small_qwen.json"));
  folder.Put("tokenizer.model", "not looked at");
  folder.Put("rwkv_vocab_v20230424.txt", "not looked at");
  const auto source = folder.Open();
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(source->where, HasSubstr("/tokenizer.json"));
}

TEST(TokenizerSource, NamesWhatThereIs) {
  EXPECT_THAT(Message(OpenTokenizerSource("wordl").status()), HasSubstr("bytes, characters, world"));
}

// Both libraries export a symbol FLAGS_minloglevel, of other types: bound to one another, LibTorch would end the
// program where it should throw.
TEST(TokenizerSource, SentencePieceLeavesLibTorchAlone) {
  const auto opened = OpenTokenizerSource(kGolden + "sp_unigram.model");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_FALSE(opened->tokenizer->Encode("hello").empty());
  EXPECT_THROW(at::empty({int64_t{1} << 50}), std::exception);
}

}  // namespace
}  // namespace volery::policy
