#pragma once
// What `volery run` tells people: the start, the status line, evaluations with a few answers, the end.

#include <optional>
#include <string>
#include <vector>

#include "core/observe/status_line.h"
#include "core/orchestration/loop.h"

namespace volery::app {

// The loop's thread only.
class RunPrinter {
 public:
  explicit RunPrinter(int64_t steps);
  void Line(const std::string& text);                               // above the status line
  void OnView(const orchestration::LoopView& view);
  void OnStep(const orchestration::StepReport& report);
  void OnEval(const orchestration::EvalResult& result);
  void Finish();

 private:
  observe::StatusLine status_;
  int64_t steps_;
  bool showed_examples_ = false;
};

// "  [3 words] -> "Loyal furry friend" (1)" for each example.
std::string ExampleLines(const orchestration::EvalResult& result);

}  // namespace volery::app
