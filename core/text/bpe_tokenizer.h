#pragma once
// The byte-level BPE pipeline over a BpeSpec: added tokens, normaliser, pre-tokenizer, merging,
// post-processor.

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/status.h"
#include "core/text/bpe_model.h"
#include "core/text/bpe_spec.h"
#include "core/text/token_table.h"
#include "core/text/tokenizer.h"

namespace volery::text {

class BpeTokenizer : public Tokenizer {
 public:
  // Errors name spec.where and the entry: ids out of range, a token that is no UTF-8, two ids of one content,
  // a merge whose result is no token, an expression that PCRE2 doesn't take.
  static StatusOr<std::shared_ptr<Tokenizer>> Make(BpeSpec spec);

  using Tokenizer::Encode;
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const override;
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const override {
    return table_.Decode(ids, skip_special);
  }
  int32_t size() const override { return static_cast<int32_t>(spec_.tokens.size()); }
  std::string_view TokenBytes(int32_t id) const override { return table_.Bytes(id); }
  bool IsSpecial(int32_t id) const override { return table_.IsSpecial(id); }
  std::string_view Content(int32_t id) const override;
  std::optional<int32_t> IdOf(std::string_view content) const override;
  TokenizerFiles Files() const override;

 private:
  struct Work;
  BpeTokenizer() = default;
  // `bytes`: what each id stands for.
  Status Index(std::vector<std::string>* bytes);
  Status IndexAdded(std::vector<std::string>* bytes);
  Status BuildModel(const std::vector<std::string>& bytes);
  bool Known(int32_t id) const { return id >= 0 && id < size(); }
  std::unique_ptr<Work> Borrow() const;
  void Return(std::unique_ptr<Work> work) const;
  void EncodeBetweenTokens(std::string_view text, bool parse_special, Work* work,
                           std::vector<int32_t>* ids) const;

  BpeSpec spec_;
  TokenTable table_;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys are views into spec_.tokens
  AddedTokenMatcher raw_tokens_, normalized_tokens_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<BpeModel> model_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Work>> idle_;  // one per thread that ever encoded at the same time
};

}  // namespace volery::text
