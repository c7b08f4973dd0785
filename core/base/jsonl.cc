#include "core/base/jsonl.h"

#include <fstream>

#include "core/base/files.h"
#include "core/base/json.h"

namespace volery::base {
namespace {

constexpr const char* kByteOrderMark = "\xef\xbb\xbf";

StatusOr<nlohmann::json> ParseLine(const std::string& text, const std::string& where) {
  VOLERY_RETURN_IF_ERROR(CheckJsonDepth(text, where));
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return InvalidError(where, ":", error.byte, ": not JSON; every line must be one JSON value (",
                        error.what(), ")");
  } catch (const nlohmann::json::exception& error) {
    return InvalidError(where, ": not JSON: ", error.what());
  }
}

}  // namespace

Status ForEachJsonLine(const std::string& path, const JsonLineVisitor& visit) {
  if (IsFolder(path)) return PreconditionError(path, ": is a folder; a JSON Lines file was expected");
  VOLERY_RETURN_IF_ERROR(FileSize(path).status());
  std::ifstream in(path, std::ios::binary);
  if (!in) return PreconditionError(path, ": can't open the file for reading");
  return ForEachJsonLine(in, path, visit);
}

Status ForEachJsonLine(std::istream& in, const std::string& name, const JsonLineVisitor& visit) {
  std::string text;
  int64_t index = 0;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    if (number == 1 && text.starts_with(kByteOrderMark)) text.erase(0, 3);
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    JsonLine line;
    line.where = Cat(name, ":", number);
    line.index = index++;
    VOLERY_ASSIGN_OR_RETURN(line.value, ParseLine(text, line.where));
    const Status status = visit(line);
    if (!status.ok()) return Message(status).starts_with(line.where) ? status : Annotate(status, line.where);
  }
  if (in.bad()) return absl::UnavailableError(Cat(name, ": reading failed"));
  return OkStatus();
}

}  // namespace volery::base
