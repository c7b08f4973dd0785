#include "core/text/world_tokenizer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "core/text/byte_trie.h"
#include "core/text/token_table.h"
#include "core/text/world_vocabulary.h"

namespace volery::text {
namespace {

class World : public Tokenizer {
 public:
  World(WorldVocabulary vocabulary, std::string file)
      : numbered_(vocabulary.numbered),
        file_(std::move(file)),
        trie_(vocabulary.tokens),
        table_(vocabulary.tokens, OnlyTheEnd(vocabulary.tokens.size())) {}

  using Tokenizer::Encode;
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3 + 1);
    while (!text.empty()) {
      const ByteTrie::Match match = trie_.Longest(text);  // at least one byte: every byte has a token
      ids.push_back(match.key);
      text.remove_prefix(match.length);
    }
    return ids;
  }
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const override {
    return table_.Decode(ids, skip_special);
  }
  int32_t size() const override { return table_.size(); }
  std::string_view TokenBytes(int32_t id) const override { return table_.Bytes(id); }
  bool IsSpecial(int32_t id) const override { return id == kWorldEnd; }
  std::string_view Content(int32_t id) const override {
    return id == kWorldEnd ? std::string_view(kWorldEndContent) : table_.Bytes(id);
  }
  std::optional<int32_t> IdOf(std::string_view content) const override {
    if (content == kWorldEndContent) return kWorldEnd;
    const int32_t id = trie_.Find(content);
    return id == ByteTrie::kNone ? std::nullopt : std::optional<int32_t>(id);
  }
  TokenizerFiles Files() const override {
    return {{numbered_ ? "rwkv_vocab_v20230424.txt" : "vocab.txt", file_},
            {"tokenizer_config.json", Config()}};
  }

 private:
  static std::vector<bool> OnlyTheEnd(size_t size) {
    std::vector<bool> special(size, false);
    special[kWorldEnd] = true;
    return special;
  }

  // As the folders of World models have it; their Python class comes as a file beside it.
  std::string Config() const {
    nlohmann::ordered_json config = {{"add_prefix_space", false},
                                     {"clean_up_tokenization_spaces", false},
                                     {"use_fast", false},
                                     {"add_bos_token", false},
                                     {"bos_token", kWorldEndContent},
                                     {"unk_token", kWorldEndContent}};
    const char* name = numbered_ ? "RwkvTokenizer" : "Rwkv5Tokenizer";
    config["tokenizer_class"] = name;
    config["auto_map"]["AutoTokenizer"] = {
        Cat(numbered_ ? "hf_rwkv_tokenizer." : "tokenization_rwkv5.", name), nullptr};
    config["added_tokens_decoder"]["0"] = {{"content", kWorldEndContent}, {"lstrip", false},
                                           {"normalized", false},         {"rstrip", false},
                                           {"single_word", false},        {"special", true}};
    return config.dump(2) + "\n";
  }

  bool numbered_;
  std::string file_;
  ByteTrie trie_;
  TokenTable table_;
};

}  // namespace

StatusOr<std::shared_ptr<Tokenizer>> WorldTokenizer(std::string vocabulary, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(WorldVocabulary read, ReadWorldVocabulary(vocabulary, where));
  return std::make_shared<World>(std::move(read), std::move(vocabulary));
}

}  // namespace volery::text
