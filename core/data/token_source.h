#pragma once
// Text as one long row of token ids with its documents' borders: what pretraining reads. Text files are
// tokenised into memory when they are opened, binidx pairs stay mapped. Rows may hold token ids instead of
// text, and labels beside them, by the convention of Hugging Face's datasets (input_ids, labels: -100 where no
// loss is asked for). Immutable and thread-safe.
//
//   VOLERY_ASSIGN_OR_RETURN(auto tokens, OpenTokens({"a.jsonl", "jsonl"}, 65536, encode));

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::data {

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual int64_t size() const = 0;  // tokens
  virtual int64_t documents() const = 0;
  // out.size() tokens from `begin`; [begin, begin + out.size()) lies within [0, size()).
  virtual void Copy(int64_t begin, std::span<int32_t> out) const = 0;
  // Where documents begin in [begin, end), ascending.
  virtual std::vector<int64_t> DocumentsIn(int64_t begin, int64_t end) const = 0;
  virtual int64_t ignored() const { return 0; }  // tokens that the loss doesn't count
  // Tokens from `begin` as Copy: 1 where the loss counts them, 0 where labels say that it doesn't.
  virtual void CopyLossMask(int64_t begin, std::span<uint8_t> out) const;
};

// The tokens of a document, the end token included.
using EncodeDocument = std::function<StatusOr<std::vector<int32_t>>(const std::string& text)>;

struct TextFile {
  std::string file;
  std::string format;           // "text" | "jsonl" | "parquet" | "binidx"
  std::string column = "text";  // of jsonl and parquet: text or token ids
  std::string separator = "";   // of plain text, between documents; "": the file is one document
  std::string labels = "";      // of jsonl and parquet with token ids: column of labels; "": all tokens count
};

// A document as a file holds it.
struct TextDocument {
  std::string text;
  std::optional<std::vector<int32_t>> ids;  // instead of text; used as they are, no end token is added
  std::vector<uint8_t> loss_mask;           // one an id; empty: the loss counts all

  bool empty() const { return ids ? ids->empty() : text.empty(); }
};

// Errors name the file (and the line): unreadable or empty files, a column that is missing or holds neither
// text nor ids, labels that don't fit the ids, what binidx files lie about, ids that are negative or not below
// `vocabulary`.
StatusOr<std::shared_ptr<const TokenSource>> OpenTokens(const TextFile& text, int64_t vocabulary,
                                                        const EncodeDocument& encode);

// Documents one after another.
std::shared_ptr<const TokenSource> TokensInMemory(const std::vector<std::vector<int32_t>>& documents);

// Calls `visit` with each document of a text, jsonl or parquet file, in order; its first error ends that,
// with the document's place in front.
Status ForEachDocument(const TextFile& text,
                       const std::function<Status(const TextDocument& document)>& visit);

}  // namespace volery::data
