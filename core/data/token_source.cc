#include "core/data/token_source.h"

#include <algorithm>

#include "core/base/files.h"
#include "core/base/jsonl.h"
#include "core/data/dataset.h"
#include "core/formats/binidx.h"
#include "core/formats/parquet_rows.h"

namespace volery::data {
namespace {

class MemoryTokens : public TokenSource {
 public:
  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  int64_t documents() const override { return static_cast<int64_t>(begins_.size()); }
  void Copy(int64_t begin, std::span<int32_t> out) const override {
    VOLERY_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= size());
    std::copy_n(tokens_.begin() + begin, out.size(), out.begin());
  }
  std::vector<int64_t> DocumentsIn(int64_t begin, int64_t end) const override {
    const auto first = std::lower_bound(begins_.begin(), begins_.end(), begin);
    return {first, std::lower_bound(first, begins_.end(), end)};
  }

  int64_t ignored() const override { return std::ranges::count(loss_mask_, uint8_t{0}); }
  void CopyLossMask(int64_t begin, std::span<uint8_t> out) const override {
    if (loss_mask_.empty()) return TokenSource::CopyLossMask(begin, out);
    std::copy_n(loss_mask_.begin() + begin, out.size(), out.begin());
  }

  // `loss_mask`: one a token of every document, or none of any: all count.
  void Append(std::span<const int32_t> document, std::span<const uint8_t> loss_mask) {
    if (document.empty()) return;
    begins_.push_back(size());
    tokens_.insert(tokens_.end(), document.begin(), document.end());
    loss_mask_.insert(loss_mask_.end(), loss_mask.begin(), loss_mask.end());
    VOLERY_CHECK(loss_mask_.empty() || loss_mask_.size() == tokens_.size());
  }

 private:
  std::vector<int32_t> tokens_;
  std::vector<uint8_t> loss_mask_;  // one a token, or none while all count
  std::vector<int64_t> begins_;  // of documents that aren't empty
};

class BinidxTokens : public TokenSource {
 public:
  explicit BinidxTokens(formats::Binidx binidx) : binidx_(std::move(binidx)) {}
  int64_t size() const override { return view().token_count(); }
  int64_t documents() const override { return view().document_count(); }
  void Copy(int64_t begin, std::span<int32_t> out) const override { view().Copy(begin, out); }
  std::vector<int64_t> DocumentsIn(int64_t begin, int64_t end) const override {
    int64_t low = 0, high = documents();
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (view().Document(middle).begin < begin) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    std::vector<int64_t> begins;
    for (int64_t i = low; i < documents(); ++i) {
      const formats::TokenRange range = view().Document(i);
      if (range.begin >= end) break;
      if (range.begin < range.end) begins.push_back(range.begin);
    }
    return begins;
  }

 private:
  const formats::BinidxView& view() const { return binidx_.view(); }
  formats::Binidx binidx_;
};

Status CheckIds(std::span<const int32_t> ids, int64_t vocabulary, const std::string& where) {
  for (int32_t id : ids) {
    if (id < 0 || id >= vocabulary) {
      return InvalidError(where, where.empty() ? "" : ": ", "token id ", id, " is outside the model's vocabulary of ",
                          vocabulary, "; the file was made with another tokenizer");
    }
  }
  return OkStatus();
}

StatusOr<std::shared_ptr<const TokenSource>> OpenBinidx(const std::string& file, int64_t vocabulary) {
  const bool named = file.ends_with(".idx") || file.ends_with(".bin");
  const std::string prefix = named ? file.substr(0, file.size() - 4) : file;
  VOLERY_ASSIGN_OR_RETURN(formats::Binidx binidx, formats::Binidx::Open(prefix));
  auto tokens = std::make_shared<const BinidxTokens>(std::move(binidx));
  std::vector<int32_t> part(1 << 16);
  for (int64_t begin = 0; begin < tokens->size(); begin += static_cast<int64_t>(part.size())) {
    part.resize(static_cast<size_t>(std::min<int64_t>(1 << 16, tokens->size() - begin)));
    tokens->Copy(begin, part);
    VOLERY_RETURN_IF_ERROR(CheckIds(part, vocabulary, Cat(prefix, ".bin")));
  }
  return tokens;
}

using DocumentVisitor = std::function<Status(const TextDocument&)>;

Status ForEachPart(const TextFile& text, const DocumentVisitor& visit) {
  VOLERY_ASSIGN_OR_RETURN(std::string all, base::ReadFile(text.file));
  if (text.separator.empty()) return visit({std::move(all), {}, {}});
  for (size_t begin = 0; begin <= all.size();) {
    const size_t end = std::min(all.find(text.separator, begin), all.size());
    if (end > begin) VOLERY_RETURN_IF_ERROR(visit({all.substr(begin, end - begin), {}, {}}));
    begin = end + text.separator.size();
  }
  return OkStatus();
}

StatusOr<const nlohmann::json*> ColumnOf(const nlohmann::json& row, const std::string& column,
                                         const char* key) {
  const auto found = row.find(column);
  if (found != row.end()) return &*found;
  std::string names;
  for (const auto& [name, value] : row.items()) names += Cat(names.empty() ? "" : ", ", '"', name, '"');
  return InvalidError("there is no column \"", column, "\"; this row has ", names.empty() ? "none" : names,
                      "; say with `", key, "` which to read");
}

StatusOr<std::vector<int32_t>> Integers(const nlohmann::json& list, const std::string& column, const char* what) {
  std::vector<int32_t> out;
  out.reserve(list.size());
  for (const nlohmann::json& value : list) {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX) ||
        value.get<int64_t>() < INT32_MIN || value.get<int64_t>() > INT32_MAX)
      return InvalidError("column \"", column, "\" holds ", value.dump(), " at [", out.size(), "], not a ", what);
    out.push_back(value.get<int32_t>());
  }
  return out;
}

StatusOr<std::vector<uint8_t>> LossMask(const nlohmann::json& list, const TextFile& text,
                                        const std::vector<int32_t>& ids) {
  constexpr int32_t kIgnored = -100;  // as cross-entropies of the field ignore it
  if (!list.is_array())
    return InvalidError("column \"", text.labels, "\" holds a ", list.type_name(), ", not a list of labels");
  VOLERY_ASSIGN_OR_RETURN(const std::vector<int32_t> labels, Integers(list, text.labels, "label"));
  if (labels.size() != ids.size())
    return InvalidError("\"", text.labels, "\" has ", labels.size(), " labels, but \"", text.column, "\" has ",
                        ids.size(), " ids");
  std::vector<uint8_t> mask(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (labels[i] != kIgnored && labels[i] != ids[i])
      return InvalidError("\"", text.labels, "\" has ", labels[i], " at [", i, "], where the id is ", ids[i],
                          "; a label is its own token's id, or ", kIgnored, " where no loss is asked for");
    mask[i] = labels[i] == kIgnored ? 0 : 1;
  }
  return mask;
}

StatusOr<TextDocument> DocumentOf(const nlohmann::json& row, const TextFile& text) {
  if (!row.is_object()) return InvalidError("no JSON object but a JSON ", row.type_name());
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json* found, ColumnOf(row, text.column, "column"));
  TextDocument document;
  if (found->is_array()) {
    VOLERY_ASSIGN_OR_RETURN(document.ids, Integers(*found, text.column, "token id"));
  } else if (found->is_string()) {
    document.text = found->get_ref<const std::string&>();
  } else {
    return InvalidError("column \"", text.column, "\" holds a ", found->type_name(),
                        ", neither text nor token ids");
  }
  if (text.labels.empty()) return document;
  if (!document.ids)
    return InvalidError("column \"", text.column, "\" holds text, but labels go with token ids");
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json* labels, ColumnOf(row, text.labels, "labels"));
  VOLERY_ASSIGN_OR_RETURN(document.loss_mask, LossMask(*labels, text, *document.ids));
  return document;
}

Status VisitRow(const nlohmann::json& row, const std::string& where, const TextFile& text,
                const DocumentVisitor& visit) {
  const StatusOr<TextDocument> document = DocumentOf(row, text);
  return Annotate(document.ok() ? visit(*document) : document.status(), where);
}

}  // namespace

void TokenSource::CopyLossMask(int64_t, std::span<uint8_t> out) const {
  std::ranges::fill(out, uint8_t{1});
}

Status ForEachDocument(const TextFile& text, const DocumentVisitor& visit) {
  if (text.format == "text") return Annotate(ForEachPart(text, visit), text.file);
  if (text.format == "jsonl") {
    return base::ForEachJsonLine(text.file, [&](const base::JsonLine& line) {
      return VisitRow(line.value, line.where, text, visit);
    });
  }
  VOLERY_CHECK(text.format == "parquet");
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(text.file));
  return formats::ReadParquetRows(file->bytes(), text.file, [&](int64_t row, const nlohmann::json& object) {
    return VisitRow(object, Cat(text.file, ":row ", row), text, visit);
  });
}

StatusOr<std::shared_ptr<const TokenSource>> OpenTokens(const TextFile& text, int64_t vocabulary,
                                                        const EncodeDocument& encode) {
  if (text.format == "binidx") return OpenBinidx(text.file, vocabulary);
  auto tokens = std::make_shared<MemoryTokens>();
  VOLERY_RETURN_IF_ERROR(ForEachDocument(text, [&](const TextDocument& document) -> Status {
    if (document.empty()) return OkStatus();
    VOLERY_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            document.ids ? *document.ids : encode(document.text));
    VOLERY_RETURN_IF_ERROR(CheckIds(ids, vocabulary, ""));  // the row is named by who calls
    tokens->Append(ids, document.loss_mask);
    return OkStatus();
  }));
  if (tokens->documents() == 0) return InvalidError(text.file, ": there is no text in it");
  return tokens;
}

std::shared_ptr<const TokenSource> TokensInMemory(const std::vector<std::vector<int32_t>>& documents) {
  auto tokens = std::make_shared<MemoryTokens>();
  for (const std::vector<int32_t>& document : documents) tokens->Append(document, {});
  return tokens;
}

}  // namespace volery::data
