#pragma once
// JSON Lines: one JSON value a line, visited in order, with the place ("file.jsonl:12") for messages. Blank
// lines and a leading byte order mark are skipped. No state; the visitor runs on the caller's thread.
//
//   VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(path, [&](const base::JsonLine& line) { ... return
//   OkStatus(); }));

#include <cstdint>
#include <functional>
#include <istream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/status.h"

namespace volery::base {

struct JsonLine {
  nlohmann::json value;
  std::string where;  // "file.jsonl:12"
  int64_t index = 0;  // counts the values from 0, blank lines not
};

using JsonLineVisitor = std::function<Status(const JsonLine& line)>;

// Stops at the first error. Errors: the file can't be read; a line that is no JSON (InvalidArgument, with its
// place and the column); the visitor's own, with the place in front where the message doesn't begin with it.
Status ForEachJsonLine(const std::string& path, const JsonLineVisitor& visit);
// From a stream, e.g. standard input; `name` stands for the file in messages.
Status ForEachJsonLine(std::istream& in, const std::string& name, const JsonLineVisitor& visit);

}  // namespace volery::base
