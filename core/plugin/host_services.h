#pragma once
// The services that a plugin instance gets from the host: log lines, metrics, random words. One object an
// instance; it outlives the instance. Thread-safe.

#include <map>
#include <mutex>
#include <string>

#include "core/base/metrics.h"
#include "volery/abi/plugin.h"

namespace volery::plugin {

class HostServices {
 public:
  HostServices(std::string plugin_id, uint64_t seed);
  HostServices(const HostServices&) = delete;
  HostServices& operator=(const HostServices&) = delete;

  const volery_host* table() const { return &table_; }
  void AddMetric(const std::string& name, double sum, uint64_t count);
  // Mean of each reported metric since the last call.
  base::MetricRow TakeMetrics();
  struct Sum {
    double sum = 0;
    uint64_t count = 0;
  };
  std::map<std::string, Sum> TakeSums();

 private:
  static void Log(const volery_host* host, uint32_t level, volery_text message);
  static void Metric(const volery_host* host, volery_text name, double value);
  static uint32_t RandomWord(const volery_host* host, uint32_t stream, uint64_t n);
  static const void* Extension(const volery_host* host, const char* id);

  volery_host table_;
  const std::string id_;
  const uint64_t seed_, id_hash_;
  std::mutex mutex_;
  std::map<std::string, Sum> sums_;
};

}  // namespace volery::plugin
