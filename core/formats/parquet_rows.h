#pragma once
// Reads any Parquet file row by row as JSON objects, for datasets. Arrow stays behind this header.
//
//   VOLERY_RETURN_IF_ERROR(ReadParquetRows(file->bytes(), path, [&](int64_t row, nlohmann::json object) { ...
//   }));

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "core/base/status.h"

namespace volery::formats {

// Calls `visit` with each row's number and its columns by name; stops at its first error and returns it.
// Nulls, bools, integers, floats, strings, lists and structs become the JSON values of the same kind; times,
// dates and decimals become strings as Arrow prints them. InvalidArgument: no Parquet file, a damaged one, a
// column name that stands twice, a column of another type (binary, map ...), which is named. Thread-safe.
Status ReadParquetRows(std::span<const std::byte> bytes, const std::string& where,
                       const std::function<Status(int64_t row, nlohmann::json object)>& visit);

}  // namespace volery::formats
