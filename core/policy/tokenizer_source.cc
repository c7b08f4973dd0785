#include "core/policy/tokenizer_source.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/base/json.h"
#include "core/plugin/plugin_host.h"
#include "core/text/gguf_vocabulary.h"
#include "core/text/sentencepiece_tokenizer.h"
#include "core/text/simple_tokenizers.h"
#include "core/text/tokenizer_files.h"
#include "core/text/tokenizer_json.h"
#include "core/text/world_tokenizer.h"
#include "core/text/world_vocabulary.h"

namespace volery::policy {
namespace {

using nlohmann::json;

constexpr char kJson[] = "tokenizer.json", kConfig[] = "tokenizer_config.json", kModel[] = "tokenizer.model",
               kVocabulary[] = "vocab.txt";
// The .py files are the Python tokenizers of RWKV folders.
constexpr const char* kCopiedFiles[] = {kJson,
                                        kConfig,
                                        kModel,
                                        kVocabulary,
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "chat_template.jinja",
                                        "vocab.json",
                                        "merges.txt",
                                        "hf_rwkv_tokenizer.py",
                                        "tokenization_rwkv5.py"};

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

bool IsWorldName(const std::string& name) {
  return name.starts_with("rwkv_vocab_") && EndsWith(name, ".txt");
}

Status ReadTokenizerFiles(const std::string& folder, TokenizerSource& source) {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<std::string> names, base::ListFolder(folder));
  for (const std::string& name : names) {
    const bool copied =
        std::find(std::begin(kCopiedFiles), std::end(kCopiedFiles), name) != std::end(kCopiedFiles);
    if (!copied && !IsWorldName(name)) continue;
    VOLERY_ASSIGN_OR_RETURN(source.files[name], base::ReadFile(folder + "/" + name));
  }
  return OkStatus();
}

// The files' World vocabulary, by its usual names; "" when there is none. BERT's vocab.txt isn't one.
std::string WorldFileOf(const std::map<std::string, std::string>& files) {
  for (const auto& [name, bytes] : files) {
    if (IsWorldName(name)) return name;
  }
  const auto found = files.find(kVocabulary);
  return found != files.end() && text::LooksLikeWorldVocabulary(found->second) ? kVocabulary : "";
}

// Whatever a folder's configuration says (it names "\n\n", or id 0 as a beginning): World models end
// documents with id 0 and need nothing in front.
Status OpenWorld(const std::string& bytes, TokenizerSource& source) {
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::WorldTokenizer(bytes, source.where));
  source.eos = source.pad = text::kWorldEnd;
  return OkStatus();
}

// Llama's tokenizers add <s> unless told otherwise; others only what they are told.
StatusOr<text::SentencePieceOptions> PieceOptions(const json& config, const std::string& where) {
  text::SentencePieceOptions options;
  const json name = config.value("tokenizer_class", json());
  options.add_bos = name.is_string() && name.get<std::string>().find("Llama") != std::string::npos;
  for (const auto& [key, value] :
       {std::pair("add_bos_token", &options.add_bos), std::pair("add_eos_token", &options.add_eos)}) {
    if (!config.contains(key) || config[key].is_null()) continue;
    if (!config[key].is_boolean()) return InvalidError(where, ": ", key, " must be true or false");
    *value = config[key].get<bool>();
  }
  return options;
}

Status RefuseAddedTokens(const std::string& folder, const TokenizerSource& source) {
  const auto file = source.files.find("added_tokens.json");
  if (file == source.files.end()) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(const json added, ParseJsonFile(file->second, folder + "/added_tokens.json"));
  for (const auto& [content, id] : added.items()) {
    if (source.tokenizer->IdOf(content)) continue;
    return InvalidError(folder, "/added_tokens.json: adds '", content, "' to ", kModel,
                        ", which is not supported; export the folder with a tokenizer.json");
  }
  return OkStatus();
}

Status OpenPieces(const std::string& bytes, const json& config, TokenizerSource& source) {
  VOLERY_ASSIGN_OR_RETURN(const text::SentencePieceOptions options, PieceOptions(config, source.where));
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::SentencePieceTokenizer(bytes, source.where, options));
  source.bos = source.tokenizer->IdOf("<s>");
  source.eos = source.tokenizer->IdOf("</s>");
  source.unk = source.tokenizer->IdOf("<unk>");
  source.pad = source.tokenizer->IdOf("<pad>");
  return OkStatus();
}

void NameSpecials(const json& config, TokenizerSource& source) {
  const auto name = [&](const char* key, std::optional<int32_t>& id) {
    if (const std::optional<int32_t> found = TokenOf(config, key, *source.tokenizer)) id = found;
  };
  name("bos_token", source.bos);
  name("eos_token", source.eos);
  name("unk_token", source.unk);
  name("pad_token", source.pad);
}

StatusOr<TokenizerSource> FromFolder(const std::string& folder) {
  TokenizerSource source;
  VOLERY_RETURN_IF_ERROR(ReadTokenizerFiles(folder, source));
  json config = json::object();
  if (source.files.contains(kConfig)) {
    VOLERY_ASSIGN_OR_RETURN(config, ParseJsonFile(source.files[kConfig], folder + "/" + kConfig));
  }
  const std::string world = WorldFileOf(source.files);
  if (source.files.contains(kJson)) {
    source.where = folder + "/" + kJson;
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer, text::BpeFromTokenizerJson(source.files[kJson], source.where));
    NameSpecials(config, source);
  } else if (!world.empty()) {
    source.where = folder + "/" + world;
    VOLERY_RETURN_IF_ERROR(OpenWorld(source.files[world], source));
  } else if (source.files.contains(kModel)) {
    source.where = folder + "/" + kModel;
    VOLERY_RETURN_IF_ERROR(OpenPieces(source.files[kModel], config, source));
    VOLERY_RETURN_IF_ERROR(RefuseAddedTokens(folder, source));
    NameSpecials(config, source);
  } else {
    return NotFoundError(folder,
                         ": holds no tokenizer.json, nor tokenizer.model, nor an RWKV World vocabulary "
                         "(rwkv_vocab_*.txt, vocab.txt); export it with transformers (AutoTokenizer ... "
                         "save_pretrained), or name another tokenizer");
  }
  source.chat_jinja = TemplateOf(config);
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

StatusOr<TokenizerSource> FromWorldFile(const std::string& path) {
  TokenizerSource source;
  source.where = path;
  VOLERY_ASSIGN_OR_RETURN(const std::string bytes, base::ReadFile(path));
  VOLERY_RETURN_IF_ERROR(OpenWorld(bytes, source));
  return source;
}

StatusOr<TokenizerSource> FromPieces(const std::string& path) {
  TokenizerSource source;
  source.where = path;
  VOLERY_ASSIGN_OR_RETURN(const std::string bytes, base::ReadFile(path));
  VOLERY_RETURN_IF_ERROR(OpenPieces(bytes, json::object(), source));
  return source;
}

// The vocabulary that is installed with the program.
StatusOr<TokenizerSource> BuiltInWorld() {
  const std::string path =
      base::ResolvePath(plugin::ExecutableFolder(), "../share/volery/rwkv_world/rwkv_vocab_v20230424.txt");
  if (!base::Exists(path)) {
    return NotFoundError(
        path,
        ": the vocabulary of tokenizer \"world\", which belongs to the program, is not there; "
        "install the program again, or give the path of a rwkv_vocab_v20230424.txt");
  }
  return FromWorldFile(path);
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

bool HoldsTokenizer(const std::string& folder) {
  TokenizerSource source;
  if (!ReadTokenizerFiles(folder, source).ok()) return false;
  return source.files.contains(kJson) || source.files.contains(kModel) || !WorldFileOf(source.files).empty();
}

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
  if (name == "world") return BuiltInWorld();
  if (!base::Exists(name)) {
    return NotFoundError(name,
                         ": there is no such file or folder (nor a built-in tokenizer of that name: bytes, "
                         "characters, world)");
  }
  if (base::IsFolder(name)) return FromFolder(name);
  if (EndsWith(name, ".txt")) return FromWorldFile(name);
  if (EndsWith(name, ".model")) return FromPieces(name);
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
