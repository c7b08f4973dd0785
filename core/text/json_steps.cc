#include "core/text/json_steps.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/text/scanner.h"

namespace volery::text {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 8;  // of Sequences within Sequences

std::string TypeOf(const Json& part) {
  if (part.is_object() && part.contains("type") && part["type"].is_string())
    return part["type"].get<std::string>();
  return part.dump().substr(0, 60);
}

// The parts of a Sequence, flattened; a part that is none stands alone.
Status Flatten(const Json& part, const char* list_key, const std::string& here, int depth,
               std::vector<const Json*>* out) {
  if (part.is_null()) return OkStatus();
  if (TypeOf(part) != "Sequence") {
    out->push_back(&part);
    return OkStatus();
  }
  if (depth == kMaxDepth) return InvalidError(here, ": Sequences nest deeper than ", kMaxDepth);
  const auto list = part.find(list_key);
  if (list == part.end() || !list->is_array())
    return InvalidError(here, ": Sequence has no list \"", list_key, "\"");
  for (size_t i = 0; i < list->size(); ++i) {
    VOLERY_RETURN_IF_ERROR(
        Flatten((*list)[i], list_key, Cat(here, ".", list_key, "[", i, "]"), depth + 1, out));
  }
  return OkStatus();
}

StatusOr<std::vector<const Json*>> PartsOf(const Json& root, const char* name, const char* list_key,
                                           const std::string& where) {
  std::vector<const Json*> parts;
  const auto part = root.find(name);
  if (part != root.end()) VOLERY_RETURN_IF_ERROR(Flatten(*part, list_key, Cat(where, ": ", name), 0, &parts));
  return parts;
}

std::string EscapeLiteral(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
      out += '\\';
    out += c;
  }
  return out;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

StatusOr<SplitStep> ReadSplit(const Json& part, const std::string& here) {
  const auto pattern = part.find("pattern");
  std::string regex;
  if (pattern != part.end() && pattern->is_object() && pattern->size() == 1 &&
      pattern->begin()->is_string()) {
    const auto text = pattern->begin()->get<std::string>();
    if (pattern->begin().key() == "Regex") regex = text;
    if (pattern->begin().key() == "String") regex = EscapeLiteral(text);
  }
  if (regex.empty())
    return InvalidError(here, ": Split has no pattern {\"Regex\": ...} or {\"String\": ...}");
  const std::string behavior = Lower(part.value("behavior", std::string("isolated")));
  VOLERY_ASSIGN_OR_RETURN(const bool invert, ReadFlag(part, "invert", false, here));
  SplitStep step;
  step.drop_gaps = behavior == "removed" && invert;
  if (!step.drop_gaps && (behavior != "isolated" || invert)) {
    return InvalidError(here, ": Split with behavior ", behavior, " and invert ", invert ? "true" : "false",
                        " is not supported; isolated without invert, and removed with invert are");
  }
  const std::optional<KnownPattern> known = RecognisePattern(regex);
  step.kind = known ? SplitStep::Kind::kPattern : SplitStep::Kind::kRegex;
  if (known) {
    step.pattern = *known;
    step.drop_gaps = false;  // the known patterns leave no gaps
  } else {
    step.regex = regex;
  }
  return step;
}

Status ReadByteLevel(const Json& part, const std::string& here, std::vector<SplitStep>* out) {
  VOLERY_ASSIGN_OR_RETURN(const bool prefix_space, ReadFlag(part, "add_prefix_space", true, here));
  VOLERY_ASSIGN_OR_RETURN(const bool use_regex, ReadFlag(part, "use_regex", true, here));
  if (prefix_space) {
    SplitStep step;
    step.kind = SplitStep::Kind::kPrefixSpace;
    out->push_back(step);
  }
  if (use_regex) {
    SplitStep step;
    step.byte_level = true;
    out->push_back(step);
  }
  return OkStatus();
}

// Adds the ids of one template's entry; `seen` is whether the text itself was passed.
Status ReadTemplateEntry(const Json& entry, const Json& specials, const std::string& here, int32_t size,
                         bool* seen, std::vector<int32_t>* prefix, std::vector<int32_t>* suffix) {
  if (entry.is_object() && entry.contains("Sequence")) {
    if (*seen) return InvalidError(here, ": the text stands more than once in \"single\"");
    *seen = true;
    return OkStatus();
  }
  if (!entry.is_object() || !entry.contains("SpecialToken")) {
    return InvalidError(here, ": entry ", entry.dump().substr(0, 80),
                        " is neither Sequence nor SpecialToken");
  }
  const auto name = entry["SpecialToken"].at("id").get<std::string>();
  const auto special = specials.find(name);
  if (special == specials.end()) return InvalidError(here, ": '", name, "' is not in special_tokens");
  for (const Json& id : special->at("ids")) {
    const auto value = id.get<int64_t>();
    if (value < 0 || value >= size)
      return InvalidError(here, ": '", name, "' has id ", value, ", which is no token");
    (*seen ? suffix : prefix)->push_back(static_cast<int32_t>(value));
  }
  return OkStatus();
}

Status ReadTemplate(const Json& part, const std::string& here, BpeSpec* spec) {
  const auto single = part.find("single");
  if (single == part.end() || !single->is_array())
    return InvalidError(here, ": TemplateProcessing has no list \"single\"");
  const Json specials = part.value("special_tokens", Json::object());
  bool seen = false;
  std::vector<int32_t> prefix, suffix;
  for (const Json& entry : *single) {
    VOLERY_RETURN_IF_ERROR(ReadTemplateEntry(entry, specials, here, static_cast<int32_t>(spec->tokens.size()),
                                             &seen, &prefix, &suffix));
  }
  if (!seen) return InvalidError(here, ": \"single\" has no Sequence, so the text would vanish");
  spec->prefix.insert(spec->prefix.begin(), prefix.begin(), prefix.end());
  spec->suffix.insert(spec->suffix.end(), suffix.begin(), suffix.end());
  return OkStatus();
}

}  // namespace

StatusOr<bool> ReadFlag(const Json& object, const char* name, bool fallback, const std::string& here) {
  const auto value = object.find(name);
  if (value == object.end() || value->is_null()) return fallback;
  if (!value->is_boolean())
    return InvalidError(here, ": ", name, " is ", value->dump().substr(0, 60), "; expected true or false");
  return value->get<bool>();
}

StatusOr<bool> ReadNormalizer(const Json& root, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(const auto parts, PartsOf(root, "normalizer", "normalizers", where));
  for (const Json* part : parts) {
    if (TypeOf(*part) != "NFC") {
      return InvalidError(where, ": normalizer ", TypeOf(*part), " is not supported; NFC and none are");
    }
  }
  return !parts.empty();
}

StatusOr<std::vector<SplitStep>> ReadPreTokenizer(const Json& root, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(const auto parts, PartsOf(root, "pre_tokenizer", "pretokenizers", where));
  std::vector<SplitStep> steps;
  const std::string here = Cat(where, ": pre_tokenizer");
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string type = TypeOf(*parts[i]);
    const bool last = i + 1 == parts.size();
    if (type == "ByteLevel" && last) {
      VOLERY_RETURN_IF_ERROR(ReadByteLevel(*parts[i], here, &steps));
      return steps;
    }
    if (type == "Digits") {
      SplitStep step;
      step.kind = SplitStep::Kind::kDigits;
      VOLERY_ASSIGN_OR_RETURN(const bool individual, ReadFlag(*parts[i], "individual_digits", false, here));
      step.runs = !individual;
      steps.push_back(step);
    } else if (type == "Split") {
      VOLERY_ASSIGN_OR_RETURN(SplitStep step, ReadSplit(*parts[i], here));
      steps.push_back(std::move(step));
    } else {
      return InvalidError(here, ": ", type, type == "ByteLevel" ? " before another step" : "",
                          " is not supported; Digits and Split, then ByteLevel, are");
    }
  }
  return InvalidError(here, ": no ByteLevel step; only byte-level BPE is supported");
}

Status ReadPostProcessor(const Json& root, const std::string& where, BpeSpec* spec) {
  VOLERY_ASSIGN_OR_RETURN(const auto parts, PartsOf(root, "post_processor", "processors", where));
  const std::string here = Cat(where, ": post_processor");
  for (const Json* part : parts) {
    const std::string type = TypeOf(*part);
    if (type == "TemplateProcessing") {
      VOLERY_RETURN_IF_ERROR(ReadTemplate(*part, here, spec));
    } else if (type != "ByteLevel") {
      return InvalidError(here, ": ", type, " is not supported; ByteLevel and TemplateProcessing are");
    }
  }
  return OkStatus();
}

StatusOr<DecoderKind> ReadDecoder(const Json& root, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(const auto parts, PartsOf(root, "decoder", "decoders", where));
  if (parts.size() == 1 && TypeOf(*parts[0]) == "ByteLevel") return DecoderKind::kByteLevel;
  if (parts.size() == 1 && TypeOf(*parts[0]) == "Fuse") return DecoderKind::kFuse;
  return InvalidError(where, ": decoder ", parts.empty() ? "null" : TypeOf(*parts[0]),
                      " is not supported; ByteLevel is");
}

}  // namespace volery::text
