#include "core/text/gguf_vocabulary.h"

#include <string_view>
#include <unordered_map>

#include "core/text/bpe_tokenizer.h"

namespace volery::text {
namespace {

constexpr int32_t kControl = 3, kUserDefined = 4, kUnused = 5;

SplitStep PatternStep(KnownPattern pattern) {
  SplitStep step;
  step.pattern = pattern;
  step.byte_level = pattern == KnownPattern::kGpt2;
  return step;
}

// Sets what the pre-tokenizer's name means; returns whether the family puts bos first when the file doesn't
// say.
StatusOr<bool> ApplyPre(const GgufVocabulary& vocabulary, BpeSpec* spec) {
  const std::string& pre = vocabulary.pre;
  if (pre == "smollm") {
    SplitStep digits;
    digits.kind = SplitStep::Kind::kDigits;
    spec->steps = {digits, PatternStep(KnownPattern::kGpt2)};
    return false;
  }
  if (pre == "gpt-2") {
    spec->steps = {PatternStep(KnownPattern::kGpt2)};
    return false;
  }
  if (pre == "qwen2" || pre == "deepseek-r1-qwen") {
    spec->nfc = true;
    spec->steps = {PatternStep(KnownPattern::kQwen)};
    return false;
  }
  if (pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3") {
    spec->ignore_merges = true;
    spec->steps = {PatternStep(KnownPattern::kLlama3)};
    return true;
  }
  return InvalidError(
      vocabulary.where, ": tokenizer.ggml.pre is '", pre,
      "'; smollm, gpt-2, qwen2, deepseek-r1-qwen and llama-bpe are supported. Use the model's Hugging "
      "Face folder, whose tokenizer.json describes its pre-tokenizer");
}

Status ReadMerges(const GgufVocabulary& vocabulary, BpeSpec* spec) {
  if (vocabulary.merges.empty()) {
    return InvalidError(vocabulary.where,
                        ": tokenizer.ggml.merges is absent or empty; byte-level BPE needs it");
  }
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < spec->tokens.size(); ++i) ids.emplace(spec->tokens[i], static_cast<int32_t>(i));
  spec->merges.reserve(vocabulary.merges.size());
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      return InvalidError(vocabulary.where, ": tokenizer.ggml.merges[", i, "] is '", merge,
                          "'; expected 'left right'");
    }
    const auto left = ids.find(merge.substr(0, space)), right = ids.find(merge.substr(space + 1));
    if (left == ids.end() || right == ids.end()) {
      return InvalidError(vocabulary.where, ": tokenizer.ggml.merges[", i, "] is '", merge,
                          "', of which a part is not in tokenizer.ggml.tokens");
    }
    spec->merges.emplace_back(left->second, right->second);
  }
  return OkStatus();
}

Status AddEnd(const GgufVocabulary& vocabulary, const char* name, std::optional<int32_t> id, size_t size,
              std::vector<int32_t>* out) {
  if (!id || *id < 0 || static_cast<size_t>(*id) >= size) {
    return InvalidError(vocabulary.where, ": tokenizer.ggml.add_", name, "_token is set, but tokenizer.ggml.",
                        name, "_token_id is ", id ? Cat(*id, ", which is no token") : std::string("absent"));
  }
  out->push_back(*id);
  return OkStatus();
}

}  // namespace

StatusOr<std::shared_ptr<Tokenizer>> BpeFromGguf(const GgufVocabulary& vocabulary) {
  const std::string& where = vocabulary.where;
  if (vocabulary.model != "gpt2") {
    return InvalidError(where, ": tokenizer.ggml.model is '", vocabulary.model,
                        "'; gpt2 (byte-level BPE) is supported");
  }
  if (vocabulary.tokens.empty()) return InvalidError(where, ": tokenizer.ggml.tokens is absent or empty");
  const std::vector<int32_t>& types = vocabulary.types;
  if (!types.empty() && types.size() != vocabulary.tokens.size()) {
    return InvalidError(where, ": tokenizer.ggml.token_type has ", types.size(), " entries for ",
                        vocabulary.tokens.size(), " tokens");
  }
  BpeSpec spec;
  spec.where = where;
  VOLERY_ASSIGN_OR_RETURN(const bool family_adds_bos, ApplyPre(vocabulary, &spec));
  size_t size = vocabulary.tokens.size();
  while (!types.empty() && size > 0 && types[size - 1] == kUnused) --size;
  spec.tokens.assign(vocabulary.tokens.begin(), vocabulary.tokens.begin() + static_cast<ptrdiff_t>(size));
  spec.in_model.assign(size, true);
  for (size_t i = 0; i < size && !types.empty(); ++i) {
    if (types[i] != kControl && types[i] != kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = spec.tokens[i];
    token.special = types[i] == kControl;
    spec.added.push_back(std::move(token));
  }
  VOLERY_RETURN_IF_ERROR(ReadMerges(vocabulary, &spec));
  if (vocabulary.add_bos.value_or(family_adds_bos)) {
    VOLERY_RETURN_IF_ERROR(AddEnd(vocabulary, "bos", vocabulary.bos, size, &spec.prefix));
  }
  if (vocabulary.add_eos.value_or(false)) {
    VOLERY_RETURN_IF_ERROR(AddEnd(vocabulary, "eos", vocabulary.eos, size, &spec.suffix));
  }
  return BpeTokenizer::Make(std::move(spec));
}

}  // namespace volery::text
