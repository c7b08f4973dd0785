#include "core/data/dataset.h"

#include <sstream>

#include "core/base/files.h"
#include "core/base/jsonl.h"
#include "core/formats/parquet_rows.h"

namespace volery::data {
namespace {

std::string ColumnNames(const nlohmann::json& columns) {
  std::string names;
  for (const auto& [name, value] : columns.items()) names += Cat(names.empty() ? "" : ", ", '"', name, '"');
  return names.empty() ? "none" : names;
}

StatusOr<Dataset> ReadJsonLines(std::istream& in, const std::string& path) {
  Dataset dataset{path, {}};
  VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(in, path, [&](const base::JsonLine& line) -> Status {
    if (!line.value.is_object()) {
      return InvalidError(line.where, ": this line is a JSON ", line.value.type_name(),
                          "; a dataset has one JSON object a line, with a key for each column");
    }
    dataset.rows.push_back({line.where, line.value});
    return OkStatus();
  }));
  if (dataset.rows.empty())
    return InvalidError(path, ": the dataset is empty; give it one JSON object a line");
  return dataset;
}

}  // namespace

StatusOr<Dataset> ParseJsonLines(std::string_view text, const std::string& path) {
  std::istringstream in{std::string(text)};
  return ReadJsonLines(in, path);
}

StatusOr<Dataset> ReadDataset(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->bytes();
  if (path.ends_with(".parquet")) return ParseParquet(bytes, path);
  return ParseJsonLines({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

StatusOr<Dataset> ParseParquet(std::span<const std::byte> bytes, const std::string& path) {
  Dataset dataset{path, {}};
  VOLERY_RETURN_IF_ERROR(formats::ReadParquetRows(bytes, path, [&](int64_t row, nlohmann::json object) {
    dataset.rows.push_back({Cat(path, ":row ", row), std::move(object)});
    return OkStatus();
  }));
  if (dataset.rows.empty()) return InvalidError(path, ": the dataset is empty; it needs at least one row");
  return dataset;
}

StatusOr<const nlohmann::json*> Column(const DatasetRow& row, const std::string& name) {
  const auto found = row.columns.find(name);
  if (found == row.columns.end()) {
    return InvalidError(row.where, ": there is no column \"", name, "\"; this row has ",
                        ColumnNames(row.columns), "; name the right one under [tasks]");
  }
  return &*found;
}

}  // namespace volery::data
