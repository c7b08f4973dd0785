#include "core/text/tokenizer_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/base/json.h"
#include "core/text/bpe_tokenizer.h"
#include "core/text/json_steps.h"
#include "core/text/simple_tokenizers.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxId = 16'777'216;  // far above any vocabulary; bounds memory for files that lie

struct Vocabulary {
  std::vector<std::optional<std::string>> tokens;  // by id
  std::vector<bool> in_model;
  std::unordered_map<std::string, int32_t> ids;
};

Status Place(const std::string& where, const std::string& content, int64_t id, bool in_model,
             Vocabulary* out) {
  if (id < 0 || id >= kMaxId) {
    return InvalidError(where, ": token '", content, "' has id ", id, "; ids run from 0 to ", kMaxId - 1);
  }
  const auto index = static_cast<size_t>(id);
  if (index >= out->tokens.size()) {
    out->tokens.resize(index + 1);
    out->in_model.resize(index + 1, false);
  }
  if (out->tokens[index]) {
    return InvalidError(where, ": id ", id, " belongs to both '", *out->tokens[index], "' and '", content,
                        "'");
  }
  out->tokens[index] = content;
  out->in_model[index] = in_model;
  out->ids[content] = static_cast<int32_t>(id);
  return OkStatus();
}

Status ReadModelVocabulary(const Json& model, const std::string& where, Vocabulary* out) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object()) {
    return InvalidError(where, ": model.vocab is ", vocab == model.end() ? "missing" : vocab->type_name(),
                        "; expected an object of token -> id");
  }
  out->ids.reserve(vocab->size());
  const std::string here = where + ": model.vocab";
  for (const auto& [content, id] : vocab->items()) {
    if (!id.is_number_integer()) {
      return InvalidError(where, ": model.vocab['", content, "'] is ", id.dump(), "; expected an integer id");
    }
    VOLERY_RETURN_IF_ERROR(Place(here, content, id.get<int64_t>(), true, out));
  }
  return OkStatus();
}

StatusOr<std::vector<AddedToken>> ReadAddedTokens(const Json& root, const std::string& where,
                                                  Vocabulary* vocabulary) {
  std::vector<AddedToken> out;
  const auto list = root.find("added_tokens");
  if (list == root.end() || list->is_null()) return out;
  if (!list->is_array())
    return InvalidError(where, ": added_tokens is ", list->type_name(), "; expected a list");
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& entry = (*list)[i];
    const std::string here = Cat(where, ": added_tokens[", i, "]");
    if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_number_integer() ||
        !entry.contains("content") || !entry["content"].is_string()) {
      return InvalidError(here, " is ", entry.dump().substr(0, 80),
                          "; expected {\"id\": integer, \"content\": string, ...}");
    }
    AddedToken token;
    const auto id = entry["id"].get<int64_t>();
    token.content = entry["content"].get<std::string>();
    VOLERY_ASSIGN_OR_RETURN(token.single_word, ReadFlag(entry, "single_word", false, here));
    VOLERY_ASSIGN_OR_RETURN(token.lstrip, ReadFlag(entry, "lstrip", false, here));
    VOLERY_ASSIGN_OR_RETURN(token.rstrip, ReadFlag(entry, "rstrip", false, here));
    VOLERY_ASSIGN_OR_RETURN(token.special, ReadFlag(entry, "special", false, here));
    VOLERY_ASSIGN_OR_RETURN(token.normalized, ReadFlag(entry, "normalized", !token.special, here));
    const auto known = vocabulary->ids.find(token.content);
    if (known == vocabulary->ids.end()) {
      VOLERY_RETURN_IF_ERROR(Place(here, token.content, id, false, vocabulary));
    } else if (known->second != id) {
      return InvalidError(here, ": '", token.content, "' has id ", id, " here and ", known->second,
                          " elsewhere; give it one id");
    }
    token.id = static_cast<int32_t>(id);
    out.push_back(std::move(token));
  }
  return out;
}

// Both spellings: ["a", "b"] and "a b". `list_name` and `index` are for errors.
StatusOr<std::pair<std::string, std::string>> ReadMerge(const Json& entry, const std::string& list_name,
                                                        size_t index) {
  using Pair = std::pair<std::string, std::string>;
  if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
    return Pair(entry[0].get<std::string>(), entry[1].get<std::string>());
  }
  if (entry.is_string()) {
    const auto& text = entry.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return Pair(text.substr(0, space), text.substr(space + 1));
    }
  }
  return InvalidError(list_name, "[", index, "] is ",
                      entry.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80),
                      "; expected [\"left\", \"right\"] or \"left right\"");
}

Status ReadMerges(const Json& model, const std::string& where, const Vocabulary& vocabulary, BpeSpec* spec) {
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array()) {
    return InvalidError(
        where, ": model.merges is ", list == model.end() ? "missing" : list->type_name(),
        "; expected a list of pairs. Without merges a vocabulary can't be used: take the complete file");
  }
  spec->merges.reserve(list->size());
  const std::string list_name = where + ": model.merges";
  for (size_t i = 0; i < list->size(); ++i) {
    VOLERY_ASSIGN_OR_RETURN(const auto pair, ReadMerge((*list)[i], list_name, i));
    int32_t ids[2];
    for (int side = 0; side < 2; ++side) {
      const std::string& token = side == 0 ? pair.first : pair.second;
      const auto found = vocabulary.ids.find(token);
      if (found == vocabulary.ids.end() || !vocabulary.in_model[static_cast<size_t>(found->second)]) {
        return InvalidError(list_name, "[", i, "]: '", token, "' is not in model.vocab");
      }
      ids[side] = found->second;
    }
    spec->merges.emplace_back(ids[0], ids[1]);
  }
  return OkStatus();
}

// Refuses values other than the neutral ones.
Status CheckModelOptions(const Json& model, const std::string& where) {
  const auto type = model.find("type");
  if (type != model.end() && *type != "BPE") {
    return InvalidError(where, ": model.type is ", type->dump(), "; only BPE is supported");
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto value = model.find(name);
    if (value != model.end() && !value->is_null() && *value != "") {
      return InvalidError(where, ": model.", name, " is ", value->dump(),
                          "; not supported (byte-level BPE has none)");
    }
  }
  const auto dropout = model.find("dropout");
  if (dropout != model.end() && !dropout->is_null() && *dropout != 0) {
    return InvalidError(where, ": model.dropout is ", dropout->dump(), "; not supported, set it to null");
  }
  VOLERY_ASSIGN_OR_RETURN(const bool byte_fallback,
                          ReadFlag(model, "byte_fallback", false, Cat(where, ": model")));
  if (byte_fallback)
    return InvalidError(where, ": model.byte_fallback is true; not supported (byte-level BPE has none)");
  return OkStatus();
}

Status ReadModel(const Json& root, const std::string& where, Vocabulary* vocabulary, BpeSpec* spec) {
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object()) {
    return InvalidError(where, ": no \"model\" object; is this a tokenizer.json?");
  }
  VOLERY_RETURN_IF_ERROR(CheckModelOptions(*model, where));
  VOLERY_ASSIGN_OR_RETURN(spec->fuse_unknown, ReadFlag(*model, "fuse_unk", false, Cat(where, ": model")));
  VOLERY_ASSIGN_OR_RETURN(spec->ignore_merges,
                          ReadFlag(*model, "ignore_merges", false, Cat(where, ": model")));
  VOLERY_RETURN_IF_ERROR(ReadModelVocabulary(*model, where, vocabulary));
  VOLERY_RETURN_IF_ERROR(ReadMerges(*model, where, *vocabulary, spec));
  const auto unknown = model->find("unk_token");
  if (unknown != model->end() && !unknown->is_null()) {
    const auto found =
        unknown->is_string() ? vocabulary->ids.find(unknown->get<std::string>()) : vocabulary->ids.end();
    if (found == vocabulary->ids.end()) {
      return InvalidError(where, ": model.unk_token ", unknown->dump(), " is not in model.vocab");
    }
    spec->unknown = found->second;
  }
  return OkStatus();
}

Status FillTokens(const std::string& where, Vocabulary vocabulary, BpeSpec* spec) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id]) {
      return InvalidError(where, ": no token has id ", id, ", though ids run to ",
                          vocabulary.tokens.size() - 1, "; ids must have no gaps");
    }
    spec->tokens.push_back(std::move(*vocabulary.tokens[id]));
  }
  spec->in_model = std::move(vocabulary.in_model);
  return OkStatus();
}

bool OneCharacter(const std::string& token) {
  return !token.empty() && CodePointAt(token, 0).length == token.size();
}

// Merges may only be missing where no token needs any.
Status CheckMergesSuffice(const BpeSpec& spec) {
  if (!spec.merges.empty() || spec.ignore_merges) return OkStatus();
  std::vector<bool> added(spec.tokens.size(), false);
  for (const AddedToken& token : spec.added) added[static_cast<size_t>(token.id)] = true;
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (added[id] || OneCharacter(spec.tokens[id]) || spec.unknown == static_cast<int32_t>(id)) continue;
    return InvalidError(spec.where, ": model.merges is empty, but token ", id, " '", spec.tokens[id],
                        "' is more than one character; take the complete file");
  }
  return OkStatus();
}

StatusOr<std::shared_ptr<Tokenizer>> FromJson(const Json& root, const std::string& where) {
  if (!root.is_object())
    return InvalidError(where, ": is ", root.type_name(), "; expected a tokenizer.json object");
  BpeSpec spec;
  spec.where = where;
  Vocabulary vocabulary;
  VOLERY_RETURN_IF_ERROR(ReadModel(root, where, &vocabulary, &spec));
  VOLERY_ASSIGN_OR_RETURN(spec.added, ReadAddedTokens(root, where, &vocabulary));
  VOLERY_RETURN_IF_ERROR(FillTokens(where, std::move(vocabulary), &spec));
  VOLERY_RETURN_IF_ERROR(CheckMergesSuffice(spec));
  VOLERY_ASSIGN_OR_RETURN(spec.nfc, ReadNormalizer(root, where));
  VOLERY_RETURN_IF_ERROR(ReadPostProcessor(root, where, &spec));
  VOLERY_ASSIGN_OR_RETURN(const DecoderKind decoder, ReadDecoder(root, where));
  if (decoder == DecoderKind::kFuse)
    return CharactersFromSpec(std::move(spec), root.value("pre_tokenizer", Json()).is_null());
  VOLERY_ASSIGN_OR_RETURN(spec.steps, ReadPreTokenizer(root, where));
  return BpeTokenizer::Make(std::move(spec));
}

}  // namespace

StatusOr<std::shared_ptr<Tokenizer>> BpeFromTokenizerJson(const std::string& json_text,
                                                          const std::string& where) {
  VOLERY_RETURN_IF_ERROR(base::CheckJsonDepth(json_text, where));
  try {
    return FromJson(Json::parse(json_text), where);
  } catch (const Json::exception& error) {
    return InvalidError(where, ": not a readable tokenizer.json: ", error.what());
  }
}

}  // namespace volery::text
