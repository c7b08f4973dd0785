#pragma once
// Passes every row on to several sinks.

#include <memory>
#include <string>
#include <vector>

#include "core/base/metrics.h"

namespace volery::observe {

// Keeps its sinks alive. All of them get every call, also when an earlier one fails; the first error is returned.
class FanOutSink : public base::MetricSink {
 public:
  void Add(std::shared_ptr<base::MetricSink> sink) { sinks_.push_back(std::move(sink)); }

  Status Write(StepId step, const base::MetricRow& row, const std::string& note) override {
    return ForEach([&](base::MetricSink& sink) { return sink.Write(step, row, note); });
  }
  Status Flush() override {
    return ForEach([](base::MetricSink& sink) { return sink.Flush(); });
  }

 private:
  template <class Call>
  Status ForEach(Call call) {
    Status first;
    for (const auto& sink : sinks_) first.Update(call(*sink));  // Update keeps the first error
    return first;
  }

  std::vector<std::shared_ptr<base::MetricSink>> sinks_;
};

}  // namespace volery::observe
