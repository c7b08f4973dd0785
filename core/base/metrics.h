#pragma once
// Where numbers go: the interface that every part may report to; observe/ implements it.

#include <cstdint>
#include <map>
#include <string>

#include "core/base/ids.h"
#include "core/base/status.h"

namespace volery::base {

// One line of metrics: name -> value, e.g. "reward/mean" (names: DESIGN section 8). Ordered, so that lines compare.
using MetricRow = std::map<std::string, double>;

class MetricSink {
 public:
  virtual ~MetricSink() = default;
  // One call a step (or evaluation). `note` says why a step was skipped, else empty. Called by one thread.
  virtual Status Write(StepId step, const MetricRow& row, const std::string& note) = 0;
  virtual Status Flush() = 0;
};

}  // namespace volery::base
