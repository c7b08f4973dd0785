#include "core/observe/metrics_file.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/base/files.h"

namespace volery::observe {

using nlohmann::ordered_json;

namespace {

// Whole lines, as long as visit(step, line) is true; where the first one begins that isn't visited so.
StatusOr<size_t> ReadLines(const std::string& path, const std::string& text,
                           const std::function<bool(StepId, const nlohmann::json&)>& visit) {
  size_t begin = 0;
  for (int number = 1; begin < text.size(); ++number) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const auto line = nlohmann::json::parse(text.begin() + static_cast<ptrdiff_t>(begin),
                                            text.begin() + static_cast<ptrdiff_t>(end), nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) {
      return InvalidError(
          path, ":", number,
          ": no metrics line (a JSON object with an integer \"step\"); repair or remove the file");
    }
    if (!visit(StepId(line["step"].get<int64_t>()), line)) break;
    begin = end + 1;
  }
  return begin;
}

}  // namespace

Status ForEachMetricsLine(const std::string& path,
                          const std::function<void(StepId step, const base::MetricRow& row)>& visit) {
  if (!base::Exists(path)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  const auto numbers = [&](StepId step, const nlohmann::json& line) {
    base::MetricRow row;
    for (const auto& [name, value] : line.items())
      if (name != "step" && value.is_number()) row[name] = value.get<double>();
    visit(step, row);
    return true;
  };
  return ReadLines(path, text, numbers).status();
}

std::string FormatMetricsLine(StepId step, const base::MetricRow& row, const std::string& note) {
  ordered_json line;
  line["step"] = step.value;
  for (const auto& [name, value] : row)
    line[name] = std::isfinite(value) ? ordered_json(value) : ordered_json();
  if (!note.empty()) line["note"] = note;
  return line.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

StatusOr<std::unique_ptr<MetricsFile>> MetricsFile::Open(const std::string& path) {
  std::unique_ptr<MetricsFile> metrics(new MetricsFile(path, std::fopen(path.c_str(), "ab")));
  if (metrics->file_ == nullptr) return metrics->DiskError();
  return metrics;
}

MetricsFile::~MetricsFile() {
  if (file_ != nullptr) std::fclose(file_);
}

Status MetricsFile::CutBack(const std::string& path, StepId last_step) {
  if (!base::Exists(path)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  VOLERY_ASSIGN_OR_RETURN(const size_t end, ReadLines(path, text, [&](StepId step, const nlohmann::json&) {
                            return step.value <= last_step.value;
                          }));
  return end == text.size() ? OkStatus() : base::TruncateFile(path, end);
}

Status MetricsFile::Write(StepId step, const base::MetricRow& row, const std::string& note) {
  const std::string line = FormatMetricsLine(step, row, note) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size()) return DiskError();
  return Flush();
}

Status MetricsFile::Flush() {
  return std::fflush(file_) == 0 ? OkStatus() : DiskError();
}

Status MetricsFile::DiskError() const {
  const int code = errno;
  const std::string message = Cat(path_, ": can't write metrics: ", std::strerror(code));
  return code == ENOSPC || code == EDQUOT ? ResourceError(message, "; free some space and resume")
                                          : InternalError(message);
}

}  // namespace volery::observe
