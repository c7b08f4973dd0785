#include "core/text/simple_tokenizers.h"

#include <unordered_map>

#include "core/text/bpe_tokenizer.h"
#include "core/text/byte_level.h"
#include "core/text/tokenizer_json_writer.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

class CharacterTokens : public Tokenizer {
 public:
  // `spec`: one-character tokens and added ones, spec.unknown set; contents valid UTF-8 and distinct.
  explicit CharacterTokens(BpeSpec spec) : spec_(std::move(spec)), matcher_(spec_.added) {
    special_.assign(spec_.tokens.size(), false);
    for (const AddedToken& token : spec_.added) special_[static_cast<size_t>(token.id)] = token.special;
    for (size_t i = 0; i < spec_.tokens.size(); ++i) {
      const std::string& token = spec_.tokens[i];
      ids_.emplace(token, static_cast<int32_t>(i));
      if (!token.empty() && CodePointAt(token, 0).length == token.size()) {
        characters_.emplace(CodePointAt(token, 0).value, static_cast<int32_t>(i));
      }
    }
  }

  using Tokenizer::Encode;
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::string repaired;
    if (!IsValidUtf8(text)) text = repaired = ReplaceInvalidUtf8(text);
    std::vector<AddedTokenMatcher::Segment> segments;
    matcher_.Split(text, options.parse_special, &segments);
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    if (options.add_special) ids = spec_.prefix;
    for (const AddedTokenMatcher::Segment& segment : segments) {
      segment.id >= 0 ? ids.push_back(segment.id) : EncodePlain(segment.text, &ids);
    }
    if (options.add_special) ids.insert(ids.end(), spec_.suffix.begin(), spec_.suffix.end());
    return ids;
  }
  int32_t size() const override { return static_cast<int32_t>(spec_.tokens.size()); }
  std::string_view TokenBytes(int32_t id) const override { return Content(id); }
  bool IsSpecial(int32_t id) const override {
    return id >= 0 && id < size() && special_[static_cast<size_t>(id)];
  }
  std::string_view Content(int32_t id) const override {
    return id >= 0 && id < size() ? std::string_view(spec_.tokens[static_cast<size_t>(id)])
                                  : std::string_view();
  }
  std::optional<int32_t> IdOf(std::string_view content) const override {
    const auto found = ids_.find(std::string(content));
    return found == ids_.end() ? std::nullopt : std::optional<int32_t>(found->second);
  }
  TokenizerFiles Files() const override {
    const std::string& unknown = spec_.tokens[static_cast<size_t>(*spec_.unknown)];
    return {{"tokenizer.json", WriteCharactersJson(spec_.tokens, spec_.added, unknown)}};
  }

 private:
  void EncodePlain(std::string_view text, std::vector<int32_t>* ids) const {
    for (size_t at = 0; at < text.size();) {
      const CodePoint c = CodePointAt(text, at);
      const auto found = characters_.find(c.value);
      ids->push_back(found == characters_.end() ? *spec_.unknown : found->second);
      at += c.length;
    }
  }

  BpeSpec spec_;
  AddedTokenMatcher matcher_;
  std::vector<bool> special_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<uint32_t, int32_t> characters_;
};

void AddSpecial(const char* content, bool in_model, BpeSpec* spec) {
  AddedToken token;
  token.id = static_cast<int32_t>(spec->tokens.size());
  token.content = content;
  token.special = true;
  spec->tokens.push_back(token.content);
  spec->in_model.push_back(in_model);
  spec->added.push_back(std::move(token));
}

}  // namespace

std::shared_ptr<Tokenizer> BytesTokenizer() {
  BpeSpec spec;
  spec.where = "bytes tokenizer";
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(SpellBytes(std::string(1, static_cast<char>(byte))));
  spec.in_model.assign(256, true);
  for (const char* content : {kBosContent, kEosContent, kPadContent}) AddSpecial(content, false, &spec);
  StatusOr<std::shared_ptr<Tokenizer>> made = BpeTokenizer::Make(std::move(spec));
  VOLERY_CHECK(made.ok());
  return *std::move(made);
}

StatusOr<std::shared_ptr<Tokenizer>> CharactersTokenizer(const std::string& alphabet) {
  if (alphabet.empty())
    return InvalidError("characters tokenizer: the alphabet is empty; list the characters it has");
  if (!IsValidUtf8(alphabet)) return InvalidError("characters tokenizer: the alphabet is not UTF-8");
  BpeSpec spec;
  spec.where = "characters tokenizer";
  std::unordered_map<std::string, size_t> seen;
  for (size_t at = 0; at < alphabet.size();) {
    const std::string character = alphabet.substr(at, CodePointAt(alphabet, at).length);
    const auto [earlier, fresh] = seen.emplace(character, at);
    if (!fresh) {
      return InvalidError("characters tokenizer: the alphabet names '", character, "' twice, at bytes ",
                          earlier->second, " and ", at, "; name each character once");
    }
    spec.tokens.push_back(character);
    spec.in_model.push_back(true);
    at += character.size();
  }
  for (const char* content : {kBosContent, kEosContent, kPadContent, kUnkContent})
    AddSpecial(content, true, &spec);
  spec.unknown = static_cast<int32_t>(spec.tokens.size()) - 1;
  return std::make_shared<CharacterTokens>(std::move(spec));
}

StatusOr<std::shared_ptr<Tokenizer>> CharactersFromSpec(BpeSpec spec, bool no_pre_tokenizer) {
  const auto refuse = [&](const char* what) {
    return InvalidError(spec.where, ": decoder Fuse (one token a character) with ", what,
                        " is not supported; is this a SentencePiece model?");
  };
  if (!no_pre_tokenizer) return refuse("a pre_tokenizer");
  if (!spec.merges.empty() || spec.ignore_merges) return refuse("merges");
  if (spec.nfc) return refuse("a normalizer");
  if (!spec.prefix.empty() || !spec.suffix.empty()) return refuse("a post_processor that adds tokens");
  if (!spec.unknown || spec.fuse_unknown) return refuse("no unk_token, or with fuse_unk");
  return std::make_shared<CharacterTokens>(std::move(spec));
}

}  // namespace volery::text
