#pragma once
// metrics.jsonl: one JSON object a line, "step" first, then the values by name, then "note" where there is
// one. Lines are flushed one by one, so that `tail -f` and a crash see whole lines. Values that aren't finite
// are written as null.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "core/base/metrics.h"

namespace volery::observe {

// The line without its newline. No value may be called "step" or "note".
std::string FormatMetricsLine(StepId step, const base::MetricRow& row, const std::string& note);

// Calls visit(step, finite values) for each whole line, in order; a missing file is fine. InvalidArgument: a
// line that is no JSON object with a step (file:line).
Status ForEachMetricsLine(const std::string& path,
                          const std::function<void(StepId step, const base::MetricRow& row)>& visit);

// Called by one thread at a time.
class MetricsFile : public base::MetricSink {
 public:
  // Creates the file or goes on behind its last line.
  static StatusOr<std::unique_ptr<MetricsFile>> Open(const std::string& path);
  // For a resume: drops the lines with a step above `last_step` and a torn last line; a missing file is fine.
  // InvalidArgument: a line within the rest that is no JSON object with a step (file:line).
  static Status CutBack(const std::string& path, StepId last_step);
  ~MetricsFile() override;

  Status Write(StepId step, const base::MetricRow& row, const std::string& note) override;
  Status Flush() override;

 private:
  MetricsFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  Status DiskError() const;

  const std::string path_;
  std::FILE* file_;
};

}  // namespace volery::observe
