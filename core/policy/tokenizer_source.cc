#include "core/policy/tokenizer_source.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/base/json.h"
#include "core/text/gguf_vocabulary.h"
#include "core/text/simple_tokenizers.h"
#include "core/text/tokenizer_files.h"
#include "core/text/tokenizer_json.h"

namespace volery::policy {
namespace {

using nlohmann::json;

constexpr const char* kCopiedFiles[] = {
    "tokenizer.json",    "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja",   "vocab.json",
    "merges.txt"};

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

StatusOr<json> ParseJsonFile(const std::string& text, const std::string& path) {
  VOLERY_RETURN_IF_ERROR(base::CheckJsonDepth(text, path));
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded() || !value.is_object())
    return InvalidError(path, ": not a JSON object; the file is damaged");
  return value;
}

// A token of tokenizer_config.json: its content, or an object that holds it.
std::optional<int32_t> TokenOf(const json& config, const char* key, const text::Tokenizer& tokenizer) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return tokenizer.IdOf(found->get<std::string>());
  if (!found->is_object()) return std::nullopt;
  const auto content = found->find("content");
  return content != found->end() && content->is_string() ? tokenizer.IdOf(content->get<std::string>())
                                                         : std::nullopt;
}

// chat_template: text, or a list of {name, template} of which "default" counts.
std::string TemplateOf(const json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const json& entry : *found) {
    if (entry.is_object() && entry.value("name", json()) == "default" && entry.contains("template") &&
        entry["template"].is_string()) {
      return entry["template"].get<std::string>();
    }
  }
  return "";
}

StatusOr<TokenizerSource> FromFolder(const std::string& folder) {
  TokenizerSource source;
  source.where = folder + "/tokenizer.json";
  for (const char* name : kCopiedFiles) {
    const std::string path = folder + "/" + name;
    if (!base::Exists(path)) continue;
    VOLERY_ASSIGN_OR_RETURN(source.files[name], base::ReadFile(path));
  }
  if (!source.files.contains("tokenizer.json")) {
    return NotFoundError(folder,
                         ": holds no tokenizer.json; export it with transformers (AutoTokenizer ... "
                         "save_pretrained), or name another "
                         "tokenizer");
  }
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer,
                          text::BpeFromTokenizerJson(source.files["tokenizer.json"], source.where));
  if (source.files.contains("tokenizer_config.json")) {
    VOLERY_ASSIGN_OR_RETURN(const json config, ParseJsonFile(source.files["tokenizer_config.json"],
                                                             folder + "/tokenizer_config.json"));
    source.bos = TokenOf(config, "bos_token", *source.tokenizer);
    source.eos = TokenOf(config, "eos_token", *source.tokenizer);
    source.unk = TokenOf(config, "unk_token", *source.tokenizer);
    source.pad = TokenOf(config, "pad_token", *source.tokenizer);
    source.chat_jinja = TemplateOf(config);
  }
  if (source.files.contains("chat_template.jinja")) source.chat_jinja = source.files["chat_template.jinja"];
  return source;
}

StatusOr<TokenizerSource> FromTokenizerJson(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  TokenizerSource source;
  source.where = path;
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::BpeFromTokenizerJson(text, path));
  source.eos = source.tokenizer->IdOf(text::kEosContent);
  source.bos = source.tokenizer->IdOf(text::kBosContent);
  source.pad = source.tokenizer->IdOf(text::kPadContent);
  return source;
}

StatusOr<TokenizerSource> BuiltIn(const std::string& name, const std::string& alphabet) {
  TokenizerSource source;
  source.where = Cat("tokenizer \"", name, "\"");
  if (name == "bytes") {
    source.tokenizer = text::BytesTokenizer();
  } else {
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::CharactersTokenizer(alphabet));
    source.unk = source.tokenizer->IdOf(text::kUnkContent);
  }
  source.bos = source.tokenizer->IdOf(text::kBosContent);
  source.eos = source.tokenizer->IdOf(text::kEosContent);
  source.pad = source.tokenizer->IdOf(text::kPadContent);
  return source;
}

StatusOr<std::optional<int32_t>> OptionalId(const formats::GgufView& gguf, const std::string& key) {
  if (!gguf.Has(key)) return std::optional<int32_t>();
  VOLERY_ASSIGN_OR_RETURN(const int64_t id, gguf.Int(key));
  if (id < 0 || id > std::numeric_limits<int32_t>::max())
    return InvalidError(gguf.where, ": ", key, " = ", id, " is no token id");
  return std::optional<int32_t>(static_cast<int32_t>(id));
}

StatusOr<std::optional<bool>> OptionalBool(const formats::GgufView& gguf, const std::string& key) {
  if (!gguf.Has(key)) return std::optional<bool>();
  VOLERY_ASSIGN_OR_RETURN(const bool value, gguf.Bool(key));
  return std::optional<bool>(value);
}

}  // namespace

StatusOr<TokenizerSource> TokenizerFromGguf(const formats::GgufView& gguf) {
  text::GgufVocabulary vocabulary;
  vocabulary.where = gguf.where;
  VOLERY_ASSIGN_OR_RETURN(vocabulary.model, gguf.String("tokenizer.ggml.model"));
  if (gguf.Has("tokenizer.ggml.pre")) {
    VOLERY_ASSIGN_OR_RETURN(vocabulary.pre, gguf.String("tokenizer.ggml.pre"));
  }
  VOLERY_ASSIGN_OR_RETURN(vocabulary.tokens, gguf.Strings("tokenizer.ggml.tokens"));
  if (gguf.Has("tokenizer.ggml.merges")) {
    VOLERY_ASSIGN_OR_RETURN(vocabulary.merges, gguf.Strings("tokenizer.ggml.merges"));
  }
  if (gguf.Has("tokenizer.ggml.token_type")) {
    VOLERY_ASSIGN_OR_RETURN(const std::vector<int64_t> types, gguf.Ints("tokenizer.ggml.token_type"));
    vocabulary.types.assign(types.begin(), types.end());
  }
  TokenizerSource source;
  source.where = gguf.where;
  VOLERY_ASSIGN_OR_RETURN(source.bos, OptionalId(gguf, "tokenizer.ggml.bos_token_id"));
  VOLERY_ASSIGN_OR_RETURN(source.eos, OptionalId(gguf, "tokenizer.ggml.eos_token_id"));
  VOLERY_ASSIGN_OR_RETURN(source.unk, OptionalId(gguf, "tokenizer.ggml.unknown_token_id"));
  VOLERY_ASSIGN_OR_RETURN(source.pad, OptionalId(gguf, "tokenizer.ggml.padding_token_id"));
  vocabulary.bos = source.bos;
  vocabulary.eos = source.eos;
  vocabulary.unk = source.unk;
  vocabulary.pad = source.pad;
  VOLERY_ASSIGN_OR_RETURN(vocabulary.add_bos, OptionalBool(gguf, "tokenizer.ggml.add_bos_token"));
  VOLERY_ASSIGN_OR_RETURN(vocabulary.add_eos, OptionalBool(gguf, "tokenizer.ggml.add_eos_token"));
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::BpeFromGguf(vocabulary));
  if (gguf.Has("tokenizer.chat_template")) {
    VOLERY_ASSIGN_OR_RETURN(source.chat_jinja, gguf.String("tokenizer.chat_template"));
  }
  return source;
}

StatusOr<TokenizerSource> OpenTokenizerSource(const std::string& name, const std::string& alphabet) {
  if (name == "bytes" || name == "characters") return BuiltIn(name, alphabet);
  if (!base::Exists(name))
    return NotFoundError(
        name, ": there is no such file or folder (nor a built-in tokenizer of that name: bytes, characters)");
  if (base::IsFolder(name)) return FromFolder(name);
  if (!EndsWith(name, ".gguf")) return FromTokenizerJson(name);
  VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(name));
  VOLERY_ASSIGN_OR_RETURN(const formats::GgufView gguf, formats::ParseGguf(file->bytes(), name));
  return TokenizerFromGguf(gguf);
}

StatusOr<std::shared_ptr<const text::Tokenizer>> OpenTokenizer(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(TokenizerSource source, OpenTokenizerSource(path));
  return std::move(source.tokenizer);
}

StatusOr<std::map<std::string, std::string>> TokenizerFilesOf(const TokenizerSource& source,
                                                              int64_t context) {
  if (!source.files.empty()) return source.files;
  text::TokenizerFilesOptions options{source.bos, source.eos,        source.unk,
                                      source.pad, source.chat_jinja, context};
  return text::MakeTokenizerFiles(*source.tokenizer, options);
}

}  // namespace volery::policy
