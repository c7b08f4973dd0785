#include "core/text/bpe_tokenizer.h"

#include "core/text/byte_level.h"
#include "core/text/tokenizer_json_writer.h"
#include "core/text/unicode.h"
#include "core/text/utf8.h"

namespace volery::text {

struct BpeTokenizer::Work {
  BpeModel::Scratch scratch;
  Pieces pieces;
  std::vector<AddedTokenMatcher::Segment> outer, inner;
};

StatusOr<std::shared_ptr<Tokenizer>> BpeTokenizer::Make(BpeSpec spec) {
  std::shared_ptr<BpeTokenizer> made(new BpeTokenizer());
  made->spec_ = std::move(spec);
  std::vector<std::string> bytes;
  VOLERY_RETURN_IF_ERROR(made->Index(&bytes));
  VOLERY_RETURN_IF_ERROR(made->IndexAdded(&bytes));
  StatusOr<PreTokenizer> pre_tokenizer = PreTokenizer::Make(made->spec_.steps);
  if (!pre_tokenizer.ok()) return Annotate(pre_tokenizer.status(), made->spec_.where, ": pre_tokenizer");
  made->pre_tokenizer_ = std::move(*pre_tokenizer);
  VOLERY_RETURN_IF_ERROR(made->BuildModel(bytes));
  return std::shared_ptr<Tokenizer>(std::move(made));
}

Status BpeTokenizer::Index(std::vector<std::string>* bytes) {
  bytes->resize(spec_.tokens.size());
  ids_.reserve(spec_.tokens.size());
  for (size_t i = 0; i < spec_.tokens.size(); ++i) {
    const std::string& token = spec_.tokens[i];
    if (!IsValidUtf8(token)) return InvalidError(spec_.where, ": token ", i, " is not UTF-8");
    const auto [earlier, fresh] = ids_.emplace(token, static_cast<int32_t>(i));
    if (!fresh) {
      return InvalidError(spec_.where, ": ids ", earlier->second, " and ", i, " are the same token '", token,
                          "'; a vocabulary has each token once");
    }
    (*bytes)[i] = UnspellBytes(token).value_or(token);
  }
  return OkStatus();
}

Status BpeTokenizer::IndexAdded(std::vector<std::string>* bytes) {
  std::vector<bool> special(spec_.tokens.size(), false);
  std::vector<AddedToken> raw, normalized;
  for (const AddedToken& token : spec_.added) {
    if (!Known(token.id) || spec_.tokens[static_cast<size_t>(token.id)] != token.content) {
      return InvalidError(spec_.where, ": added token '", token.content, "' has id ", token.id, ", which is ",
                          Known(token.id) ? Cat("'", Content(token.id), "'") : std::string("no token"));
    }
    special[static_cast<size_t>(token.id)] = token.special;
    if (token.content.empty()) continue;
    (token.normalized ? normalized : raw).push_back(token);
    if (!token.normalized || !spec_.nfc) continue;
    const std::string composed = Nfc(token.content);
    normalized.back().content = composed;
    (*bytes)[static_cast<size_t>(token.id)] = UnspellBytes(composed).value_or(composed);
  }
  table_ = TokenTable(*bytes, special);
  raw_tokens_ = AddedTokenMatcher(std::move(raw));
  normalized_tokens_ = AddedTokenMatcher(std::move(normalized));
  return OkStatus();
}

Status BpeTokenizer::BuildModel(const std::vector<std::string>& bytes) {
  BpeModelOptions options;
  options.fuse_unknown = spec_.fuse_unknown;
  options.ignore_merges = spec_.ignore_merges;
  options.unknown_id = spec_.unknown.value_or(-1);
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string spelled = SpellBytes(std::string(1, static_cast<char>(byte)));
    const auto found = ids_.find(spelled);
    const bool usable = found != ids_.end() && spec_.in_model[static_cast<size_t>(found->second)];
    options.byte_ids[byte] = usable ? found->second : -1;
  }
  std::vector<BpeModel::Merge> merges;
  merges.reserve(spec_.merges.size());
  std::string joined;
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const auto [left, right] = spec_.merges[rank];
    VOLERY_CHECK(Known(left) && Known(right));
    joined.assign(Content(left));
    joined += Content(right);
    const auto found = ids_.find(joined);
    if (found == ids_.end() || !spec_.in_model[static_cast<size_t>(found->second)]) {
      return InvalidError(
          spec_.where, ": merge ", rank, " makes '", joined,
          "', which is not in the vocabulary; the file is damaged or its parts don't belong together");
    }
    merges.push_back({left, right, found->second});
  }
  std::vector<std::pair<std::string_view, int32_t>> whole;
  for (size_t i = 0; spec_.ignore_merges && i < bytes.size(); ++i) {
    if (spec_.in_model[i] && UnspellBytes(spec_.tokens[i]))
      whole.emplace_back(bytes[i], static_cast<int32_t>(i));
  }
  model_ = std::make_unique<BpeModel>(options, merges, whole);
  return OkStatus();
}

std::unique_ptr<BpeTokenizer::Work> BpeTokenizer::Borrow() const {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Work> work = std::move(idle_.back());
      idle_.pop_back();
      return work;
    }
  }
  return std::make_unique<Work>();
}

void BpeTokenizer::Return(std::unique_ptr<Work> work) const {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(work));
}

void BpeTokenizer::EncodeBetweenTokens(std::string_view text, bool parse_special, Work* work,
                                       std::vector<int32_t>* ids) const {
  std::string composed;
  if (spec_.nfc && NeedsNfc(text)) {
    composed = Nfc(text);
    text = composed;
  }
  work->inner.clear();
  normalized_tokens_.Split(text, parse_special, &work->inner);
  for (const AddedTokenMatcher::Segment& segment : work->inner) {
    if (segment.id >= 0) {
      ids->push_back(segment.id);
      continue;
    }
    pre_tokenizer_.Split(segment.text, &work->pieces);
    const Pieces& pieces = work->pieces;
    for (const Pieces::Range& range : pieces.ranges) {
      model_->EncodePiece(pieces.text.substr(range.begin, range.end - range.begin), &work->scratch, ids);
    }
  }
}

std::vector<int32_t> BpeTokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::string repaired;
  if (!IsValidUtf8(text)) {
    repaired = ReplaceInvalidUtf8(text);
    text = repaired;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  if (options.add_special) ids.insert(ids.end(), spec_.prefix.begin(), spec_.prefix.end());
  std::unique_ptr<Work> work = Borrow();
  work->outer.clear();
  raw_tokens_.Split(text, options.parse_special, &work->outer);
  for (const AddedTokenMatcher::Segment& segment : work->outer) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      EncodeBetweenTokens(segment.text, options.parse_special, work.get(), &ids);
    }
  }
  Return(std::move(work));
  if (options.add_special) ids.insert(ids.end(), spec_.suffix.begin(), spec_.suffix.end());
  return ids;
}

std::string_view BpeTokenizer::Content(int32_t id) const {
  return Known(id) ? std::string_view(spec_.tokens[static_cast<size_t>(id)]) : std::string_view();
}

std::optional<int32_t> BpeTokenizer::IdOf(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional<int32_t>(found->second);
}

TokenizerFiles BpeTokenizer::Files() const {
  return {{"tokenizer.json", WriteTokenizerJson(spec_)}};
}

}  // namespace volery::text
