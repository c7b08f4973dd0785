#include "core/text/tokenizer_json_writer.h"

#include <nlohmann/json.hpp>

#include "core/base/status.h"

namespace volery::text {
namespace {

using Json = nlohmann::ordered_json;

Json ByteLevelStep(bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json SplitStepJson(const std::string& regex, bool drop_gaps) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", drop_gaps ? "Removed" : "Isolated"},
          {"invert", drop_gaps}};
}

Json PreTokenizerJson(const std::vector<SplitStep>& steps) {
  Json list = Json::array();
  bool prefix_space = false, bytes_spelled = false;
  for (const SplitStep& step : steps) {
    switch (step.kind) {
      case SplitStep::Kind::kPrefixSpace:
        prefix_space = true;  // always the first half of a ByteLevel step
        break;
      case SplitStep::Kind::kDigits:
        list.push_back({{"type", "Digits"}, {"individual_digits", !step.runs}});
        break;
      case SplitStep::Kind::kRegex:
        list.push_back(SplitStepJson(step.regex, step.drop_gaps));
        break;
      case SplitStep::Kind::kPattern:
        bytes_spelled = step.byte_level;
        list.push_back(step.byte_level ? ByteLevelStep(true)
                                       : SplitStepJson(PatternRegex(step.pattern), false));
        break;
    }
  }
  if (!bytes_spelled) list.push_back(ByteLevelStep(false));
  list.back()["add_prefix_space"] = prefix_space;
  return list.size() == 1 ? list.front() : Json{{"type", "Sequence"}, {"pretokenizers", list}};
}

Json AddedTokensJson(const std::vector<AddedToken>& tokens) {
  Json list = Json::array();
  for (const AddedToken& token : tokens) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

Json PostProcessorJson(const BpeSpec& spec) {
  if (spec.prefix.empty() && spec.suffix.empty()) {
    return {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}};
  }
  Json single = Json::array(), pair = Json::array(), specials = Json::object();
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const auto add = [&](const std::vector<int32_t>& ids, int type, Json* list) {
    for (const int32_t id : ids) {
      const std::string& content = spec.tokens[static_cast<size_t>(id)];
      list->push_back({{"SpecialToken", {{"id", content}, {"type_id", type}}}});
      specials[content] = {{"id", content}, {"ids", {id}}, {"tokens", {content}}};
    }
  };
  add(spec.prefix, 0, &single);
  single.push_back(sequence("A", 0));
  add(spec.suffix, 0, &single);
  pair = single;
  add(spec.prefix, 1, &pair);
  pair.push_back(sequence("B", 1));
  add(spec.suffix, 1, &pair);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

// Vocabularies are written by hand: an ordered JSON object of 150,000 keys would take quadratic time.
std::string VocabularyText(const std::vector<std::string>& tokens, const std::vector<bool>& in_model) {
  std::string out = "{";
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!in_model[i]) continue;
    if (out.size() > 1) out += ',';
    out += JsonQuote(tokens[i]);
    out += ':';
    out += std::to_string(i);
  }
  return out + "}";
}

std::string MergesText(const BpeSpec& spec) {
  std::string out = "[";
  for (const auto& [left, right] : spec.merges) {
    if (out.size() > 1) out += ',';
    out += '[';
    out += JsonQuote(spec.tokens[static_cast<size_t>(left)]);
    out += ',';
    out += JsonQuote(spec.tokens[static_cast<size_t>(right)]);
    out += ']';
  }
  return out + "]";
}

struct Parts {
  Json added, normalizer, pre_tokenizer, post_processor, decoder, unknown;
  bool fuse_unknown = false, ignore_merges = false;
  std::string vocabulary, merges;
};

std::string Assemble(const Parts& parts) {
  return Cat(
      "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":", parts.added.dump(),
      ",\"normalizer\":", parts.normalizer.dump(), ",\"pre_tokenizer\":", parts.pre_tokenizer.dump(),
      ",\"post_processor\":", parts.post_processor.dump(), ",\"decoder\":", parts.decoder.dump(),
      ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":", parts.unknown.dump(),
      ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":",
      parts.fuse_unknown ? "true" : "false",
      ",\"byte_fallback\":false,\"ignore_merges\":", parts.ignore_merges ? "true" : "false",
      ",\"vocab\":", parts.vocabulary, ",\"merges\":", parts.merges, "}}");
}

}  // namespace

std::string JsonQuote(const std::string& text) {
  return Json(text).dump();
}

std::string WriteTokenizerJson(const BpeSpec& spec) {
  Parts parts;
  parts.added = AddedTokensJson(spec.added);
  if (spec.nfc) parts.normalizer = {{"type", "NFC"}};
  parts.pre_tokenizer = PreTokenizerJson(spec.steps);
  parts.post_processor = PostProcessorJson(spec);
  parts.decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  if (spec.unknown) parts.unknown = spec.tokens[static_cast<size_t>(*spec.unknown)];
  parts.fuse_unknown = spec.fuse_unknown;
  parts.ignore_merges = spec.ignore_merges;
  parts.vocabulary = VocabularyText(spec.tokens, spec.in_model);
  parts.merges = MergesText(spec);
  return Assemble(parts);
}

std::string WriteCharactersJson(const std::vector<std::string>& tokens, const std::vector<AddedToken>& added,
                                const std::string& unknown) {
  Parts parts;
  parts.added = AddedTokensJson(added);
  parts.decoder = {{"type", "Fuse"}};
  parts.unknown = unknown;
  parts.vocabulary = VocabularyText(tokens, std::vector<bool>(tokens.size(), true));
  parts.merges = "[]";
  return Assemble(parts);
}

}  // namespace volery::text
