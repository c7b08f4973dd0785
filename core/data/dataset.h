#pragma once
// Datasets as rows of JSON: JSON Lines and Parquet files. Every row knows where it stands ("file:line", for
// Parquet "file:row N"), so that later errors name it. What the columns mean is task_builder.h's business.
//
//   VOLERY_ASSIGN_OR_RETURN(data::Dataset dataset, data::ReadDataset("questions.jsonl"));

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace volery::data {

struct DatasetRow {
  std::string where;       // "questions.jsonl:12"
  nlohmann::json columns;  // an object
};

struct Dataset {
  std::string path;
  std::vector<DatasetRow> rows;  // never empty
};

// By the file's name: *.parquet is Parquet, everything else JSON Lines. Errors: unreadable file, a line that
// is no JSON object (file:line), no rows.
StatusOr<Dataset> ReadDataset(const std::string& path);

// JSON Lines from memory; `path` is only named in errors. Blank lines and a leading byte order mark are
// skipped.
StatusOr<Dataset> ParseJsonLines(std::string_view text, const std::string& path);
StatusOr<Dataset> ParseParquet(std::span<const std::byte> bytes, const std::string& path);

// The row's column, or an error with the row's place and the columns that exist.
StatusOr<const nlohmann::json*> Column(const DatasetRow& row, const std::string& name);

}  // namespace volery::data
