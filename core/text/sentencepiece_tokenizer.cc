#include "core/text/sentencepiece_tokenizer.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "core/text/sentencepiece_library.h"
#include "core/text/sentencepiece_model.h"
#include "core/text/token_table.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";
constexpr char kBos[] = "<s>", kEos[] = "</s>";

class SentencePieces : public Tokenizer {
 public:
  SentencePieces(SentencePieceModel model, std::string file, const SentencePieceOptions& options)
      : model_(std::move(model)), file_(std::move(file)), options_(options) {
    std::vector<std::string> bytes;
    std::vector<bool> special;
    for (const SentencePieceModel::Piece& piece : model_.pieces) {
      ids_.emplace(piece.text, static_cast<int32_t>(bytes.size()));
      bytes.push_back(BytesOf(piece));
      special.push_back(piece.kind == PieceKind::kControl);
    }
    table_ = TokenTable(bytes, special);
  }

  Status Load(const std::string& where) {
    const std::string problem = library_.Load(file_);
    if (!problem.empty()) return InvalidError(where, ": the sentencepiece library refuses it: ", problem);
    for (const auto& [wanted, content] :
         {std::pair(options_.add_bos, kBos), std::pair(options_.add_eos, kEos)}) {
      if (wanted && !IdOf(content)) {
        return InvalidError(where, ": ", content,
                            " is to be added to texts, but the model has no such piece");
      }
    }
    return OkStatus();
  }

  using Tokenizer::Encode;
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::string repaired;
    if (!IsValidUtf8(text)) text = repaired = ReplaceInvalidUtf8(text);
    std::vector<int> ids;
    const std::string problem = library_.Encode(text, &ids);
    VOLERY_CHECK(problem.empty());
    if (options.add_special && options_.add_bos) ids.insert(ids.begin(), *IdOf(kBos));
    if (options.add_special && options_.add_eos) ids.push_back(*IdOf(kEos));
    return ids;
  }
  void AppendToken(int32_t id, bool* at_start, std::string* bytes) const override {
    std::string_view token = table_.Bytes(id);
    const bool drops = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
    if (*at_start && drops && Content(id).starts_with(kSpace)) {
      token.remove_prefix(1);
      if (!model_.remove_extra_whitespaces) *at_start = false;
    }
    if (!token.empty()) *at_start = false;
    *bytes += token;
  }
  int32_t size() const override { return table_.size(); }
  std::string_view TokenBytes(int32_t id) const override { return table_.Bytes(id); }
  bool IsSpecial(int32_t id) const override { return table_.IsSpecial(id); }
  std::string_view Content(int32_t id) const override {
    return id >= 0 && id < size() ? std::string_view(model_.pieces[static_cast<size_t>(id)].text)
                                  : std::string_view();
  }
  std::optional<int32_t> IdOf(std::string_view content) const override {
    const auto found = ids_.find(content);
    return found == ids_.end() ? std::nullopt : std::optional<int32_t>(found->second);
  }
  TokenizerFiles Files() const override {
    nlohmann::ordered_json config = {{"add_bos_token", options_.add_bos},
                                     {"add_eos_token", options_.add_eos},
                                     {"clean_up_tokenization_spaces", false}};
    if (model_.bpe) config["tokenizer_class"] = "LlamaTokenizer";
    return {{"tokenizer.model", file_}, {"tokenizer_config.json", config.dump(2) + "\n"}};
  }

 private:
  std::string BytesOf(const SentencePieceModel::Piece& piece) const {
    if (piece.kind == PieceKind::kControl) return "";
    if (piece.kind == PieceKind::kUnknown) return model_.unknown_surface;
    if (piece.kind == PieceKind::kByte) return std::string(1, static_cast<char>(*PieceByte(piece.text)));
    std::string bytes;
    for (size_t at = 0; at < piece.text.size();) {
      const bool space = std::string_view(piece.text).substr(at).starts_with(kSpace);
      bytes += space ? ' ' : piece.text[at];
      at += space ? kSpace.size() : 1;
    }
    return bytes;
  }

  SentencePieceModel model_;
  std::string file_;
  SentencePieceOptions options_;
  SentencePieceLibrary library_;
  TokenTable table_;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys are views into model_.pieces
};

}  // namespace

StatusOr<std::shared_ptr<Tokenizer>> SentencePieceTokenizer(std::string model, const std::string& where,
                                                            const SentencePieceOptions& options) {
  VOLERY_ASSIGN_OR_RETURN(SentencePieceModel read, ReadSentencePieceModel(model, where));
  auto tokenizer = std::make_shared<SentencePieces>(std::move(read), std::move(model), options);
  VOLERY_RETURN_IF_ERROR(tokenizer->Load(where));
  return tokenizer;
}

}  // namespace volery::text
