#include "core/text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

using Json = nlohmann::json;

constexpr const char* kSmall[] = {"qwen", "llama3", "smollm", "gpt2", "added", "regex", "possessive"};

std::shared_ptr<Tokenizer> Load(const std::string& json_text) {
  StatusOr<std::shared_ptr<Tokenizer>> made = BpeFromTokenizerJson(json_text, "tokenizer.json");
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

TEST(TokenizerJson, EqualsHuggingFaceForEverySetOfFeatures) {
  for (const std::string name : kSmall) {
    const auto tokenizer = Load(GoldenText("small_" + name + ".json"));
    ASSERT_NE(tokenizer, nullptr) << name;
    ExpectGoldenRows(*tokenizer, "small_" + name + ".ids.json");
  }
}

TEST(TokenizerJson, WhatIsWrittenReadsBackTheSame) {
  for (const std::string name : kSmall) {
    const auto first = Load(GoldenText("small_" + name + ".json"));
    ASSERT_NE(first, nullptr);
    const auto second = Load(first->Files().at("tokenizer.json"));
    ASSERT_NE(second, nullptr) << name;
    ExpectGoldenRows(*second, "small_" + name + ".ids.json");
    EXPECT_EQ(second->Files().at("tokenizer.json"), first->Files().at("tokenizer.json"));
  }
}

TEST(TokenizerJson, LooksUpTokens) {
  const auto tokenizer = Load(GoldenText("small_qwen.json"));
  ASSERT_NE(tokenizer, nullptr);
  const int32_t end = *tokenizer->IdOf("<|im_end|>");
  EXPECT_TRUE(tokenizer->IsSpecial(end));
  EXPECT_FALSE(tokenizer->IsSpecial(*tokenizer->IdOf("<think>")));
  EXPECT_EQ(tokenizer->TokenBytes(end), "<|im_end|>");
  EXPECT_EQ(tokenizer->size(), *tokenizer->IdOf("</think>") + 1);
  EXPECT_FALSE(tokenizer->IdOf("no such token").has_value());
  EXPECT_EQ(tokenizer->TokenBytes(tokenizer->size()), "");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  const int32_t space = tokenizer->Encode(" ").at(0);
  EXPECT_EQ(tokenizer->TokenBytes(space), " ");
  EXPECT_EQ(tokenizer->Content(space), "\xC4\xA0");
}

TEST(TokenizerJson, IdsWithoutTokenAreLeftOutOfText) {
  const auto tokenizer = Load(GoldenText("small_qwen.json"));
  const std::vector<int32_t> ids = {*tokenizer->IdOf("a"), 100000, -5, *tokenizer->IdOf("b")};
  EXPECT_EQ(tokenizer->Decode(ids, false), "ab");
}

TEST(TokenizerJson, BrokenBytesCountAsReplacementCharacters) {
  const auto tokenizer = Load(GoldenText("small_qwen.json"));
  EXPECT_EQ(tokenizer->Encode("a\xFF"
                              "b"),
            tokenizer->Encode("a\xEF\xBF\xBD"
                              "b"));
}

TEST(TokenizerJson, OneTokenizerServesManyThreads) {
  const auto tokenizer = Load(GoldenText("small_llama3.json"));
  const std::string text = GoldenText("small_llama3.ids.json").substr(0, 20000);
  const std::vector<int32_t> expected = tokenizer->Encode(text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) EXPECT_EQ(tokenizer->Encode(text), expected);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

Json Valid() {
  return Json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<eos>", "special": true}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3}, "merges": ["a b"]}})");
}

TEST(TokenizerJson, ReadsTheSmallestFile) {
  const auto tokenizer = Load(Valid().dump());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->Encode("abc<eos>ba"), (std::vector<int32_t>{2, 3, 4, 1, 0}));
  EXPECT_EQ(tokenizer->Encode(""), std::vector<int32_t>());
}

struct BadCase {
  const char* name;
  const char* patch;    // JSON merge patch of Valid(); null removes a key
  const char* message;  // a part that the error must have
};

TEST(TokenizerJson, NamesTheFileAndTheEntryThatIsWrong) {
  const BadCase cases[] = {
      {"no merges", R"({"model": {"merges": null}})", "model.merges is missing"},
      {"merges of another type", R"({"model": {"merges": {"a": 1}}})", "model.merges is object"},
      {"empty merges", R"({"model": {"merges": []}})", "model.merges is empty, but token 2 'ab'"},
      {"merge of one part", R"({"model": {"merges": ["a b", "ab"]}})", "model.merges[1] is \"ab\""},
      {"merge of three parts", R"({"model": {"merges": ["a b c"]}})", "model.merges[0] is \"a b c\""},
      {"merge of a number", R"({"model": {"merges": [["a", 3]]}})", "model.merges[0] is [\"a\",3]"},
      {"merge of an unknown token", R"({"model": {"merges": ["a z"]}})",
       "model.merges[0]: 'z' is not in model.vocab"},
      {"merge that makes no token", R"({"model": {"merges": ["b a"]}})", "merge 0 makes 'ba'"},
      {"vocabulary as a list", R"({"model": {"vocab": ["a"]}})", "model.vocab is array"},
      {"no vocabulary", R"({"model": {"vocab": null}})", "model.vocab is missing"},
      {"id that is text", R"({"model": {"vocab": {"c": "3"}}})", "model.vocab['c'] is \"3\""},
      {"two tokens of one id", R"({"model": {"vocab": {"c": 1}}})", "id 1 belongs to both"},
      {"gap in the ids", R"({"model": {"vocab": {"c": 7}}})", "no token has id 3"},
      {"negative id", R"({"model": {"vocab": {"c": -1}}})", "has id -1"},
      {"huge id", R"({"model": {"vocab": {"c": 99999999999}}})", "has id 99999999999"},
      {"added token of a taken id", R"({"added_tokens": [{"id": 2, "content": "<eos>"}]})",
       "added_tokens[0]: id 2 belongs to both"},
      {"added token with two ids", R"({"added_tokens": [{"id": 9, "content": "a"}]})",
       "added_tokens[0]: 'a' has id 9 here and 0"},
      {"added token without content", R"({"added_tokens": [{"id": 4}]})", "added_tokens[0] is"},
      {"flag that is no flag", R"({"added_tokens": [{"id": 4, "content": "x", "lstrip": 1}]})",
       "lstrip is 1"},
      {"other model", R"({"model": {"type": "Unigram"}})", "model.type is \"Unigram\""},
      {"dropout", R"({"model": {"dropout": 0.1}})", "model.dropout is 0.1"},
      {"byte fallback", R"({"model": {"byte_fallback": true}})", "model.byte_fallback"},
      {"word suffix", R"({"model": {"end_of_word_suffix": "</w>"}})", "model.end_of_word_suffix"},
      {"unknown token that isn't there", R"({"model": {"unk_token": "<unk>"}})", "model.unk_token"},
      {"other normaliser", R"({"normalizer": {"type": "Lowercase"}})",
       "normalizer Lowercase is not supported"},
      {"normaliser in a sequence",
       R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFKC"}]}})",
       "normalizer NFKC"},
      {"no pre-tokenizer", R"({"pre_tokenizer": null})", "no ByteLevel step"},
      {"other pre-tokenizer", R"({"pre_tokenizer": {"type": "Metaspace"}})", "pre_tokenizer: Metaspace"},
      {"other split",
       R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "MergedWithNext"}})",
       "behavior mergedwithnext"},
      {"expression that is none",
       R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}, {"type": "ByteLevel"}]}})",
       "pre_tokenizer: regular expression '(a'"},
      {"other post-processor", R"({"post_processor": {"type": "RobertaProcessing"}})",
       "post_processor: RobertaProcessing"},
      {"template without text", R"({"post_processor": {"type": "TemplateProcessing", "single": []}})",
       "no Sequence"},
      {"template of an unknown token",
       R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {}}})",
       "'x' is not in special_tokens"},
      {"no decoder", R"({"decoder": null})", "decoder null"},
      {"other decoder", R"({"decoder": {"type": "WordPiece"}})", "decoder WordPiece"},
      {"no model", R"({"model": null})", "no \"model\" object"},
  };
  for (const BadCase& bad : cases) {
    Json json = Valid();
    json.merge_patch(Json::parse(bad.patch));
    const auto made = BpeFromTokenizerJson(json.dump(), "some/tokenizer.json");
    ASSERT_FALSE(made.ok()) << bad.name;
    EXPECT_TRUE(IsInputError(made.status()));
    const std::string message(Message(made.status()));
    EXPECT_EQ(message.rfind("some/tokenizer.json: ", 0), 0u) << bad.name << ": " << message;
    EXPECT_NE(message.find(bad.message), std::string::npos) << bad.name << ": " << message;
  }
}

TEST(TokenizerJson, AFileOfBracketsIsAnErrorAndNoStackOverflow) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const auto made = BpeFromTokenizerJson("{\"model\": {\"type\": " + deep + "}}", "t.json");
  EXPECT_EQ(Message(made.status()), "t.json: the JSON is nested deeper than 100 levels");
}

TEST(TokenizerJson, TextThatIsNoJsonIsAnError) {
  for (const char* text :
       {"", "{", "[]", "null",
        "{\"model\": {\"vocab\": {}, \"merges\": []}, \"decoder\": {\"type\": \"ByteLevel\"}}"}) {
    const auto made = BpeFromTokenizerJson(text, "t.json");
    ASSERT_FALSE(made.ok()) << text;
    EXPECT_EQ(std::string(Message(made.status())).rfind("t.json: ", 0), 0u) << made.status();
  }
}

}  // namespace
}  // namespace volery::text
