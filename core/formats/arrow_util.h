#pragma once
// Internal to formats/*.cc: Arrow's errors and exceptions as our Status, and its input over bytes in memory.

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/status.h>

#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <string>

#include "core/base/status.h"

namespace volery::formats {

inline Status FromArrow(const arrow::Status& status, const std::string& where) {
  if (status.ok()) return OkStatus();
  if (status.IsOutOfMemory()) return ResourceError(where, ": ", status.message());
  return InvalidError(where, ": ", status.message());
}

// Runs `body`, which returns arrow::Status and may throw (the Parquet library does).
template <class Body>
Status CallArrow(const std::string& where, Body body) {
  try {
    return FromArrow(body(), where);
  } catch (const std::exception& e) {
    return InvalidError(where, ": ", e.what());
  }
}

// `bytes` must outlive the reader.
inline std::shared_ptr<arrow::io::RandomAccessFile> InputOver(std::span<const std::byte> bytes) {
  return std::make_shared<arrow::io::BufferReader>(std::make_shared<arrow::Buffer>(
      reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int64_t>(bytes.size())));
}

}  // namespace volery::formats
