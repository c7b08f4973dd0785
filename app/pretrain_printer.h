#pragma once
// What `volery pretrain` tells people: the start, the status line, validation losses, the end.

#include <string>

#include "core/observe/status_line.h"
#include "core/orchestration/pretrain_loop.h"

namespace volery::app {

// The loop's thread only.
class PretrainPrinter {
 public:
  explicit PretrainPrinter(int64_t steps);
  void Line(const std::string& text);  // above the status line
  void OnView(const orchestration::PretrainView& view);
  void OnValidation(const orchestration::ValidationReport& report);
  void Finish();

 private:
  observe::StatusLine status_;
  int64_t steps_;
};

}  // namespace volery::app
