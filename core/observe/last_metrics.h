#pragma once
// A sink that remembers each number's newest value, for summaries such as a model card. Thread-safe.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/base/metrics.h"

namespace volery::observe {

class LastMetrics : public base::MetricSink {
 public:
  struct Value {
    double value = 0;
    StepId step;
  };
  // Begins with what a metrics.jsonl says; a missing file says nothing. InvalidArgument: a line that is none
  // (file:line).
  static StatusOr<std::shared_ptr<LastMetrics>> Of(const std::string& path);

  Status Write(StepId step, const base::MetricRow& row, const std::string& /*note*/) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, value] : row) values_[name] = {value, step};
    return OkStatus();
  }
  Status Flush() override { return OkStatus(); }
  std::map<std::string, Value> values() const {
    const std::lock_guard lock(mutex_);
    return values_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Value> values_;
};

}  // namespace volery::observe
