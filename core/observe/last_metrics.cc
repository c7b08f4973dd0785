#include "core/observe/last_metrics.h"

#include "core/observe/metrics_file.h"

namespace volery::observe {

StatusOr<std::shared_ptr<LastMetrics>> LastMetrics::Of(const std::string& path) {
  auto last = std::make_shared<LastMetrics>();
  VOLERY_RETURN_IF_ERROR(ForEachMetricsLine(
      path, [&](StepId step, const base::MetricRow& row) { (void)last->Write(step, row, ""); }));
  return last;
}

}  // namespace volery::observe
