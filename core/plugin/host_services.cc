#include "core/plugin/host_services.h"

#include <cmath>
#include <span>

#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/random.h"

namespace volery::plugin {
namespace {

HostServices& Self(const volery_host* host) {
  return *static_cast<HostServices*>(host->context);
}
std::string Copy(volery_text text) {
  return text.data == nullptr ? std::string() : std::string(text.data, text.size);
}

}  // namespace

HostServices::HostServices(std::string plugin_id, uint64_t seed)
    : table_{sizeof(volery_host), VOLERY_ABI_MAJOR, VOLERY_ABI_MINOR, this, &Log, &Metric,
             &RandomWord,         &Extension},
      id_(std::move(plugin_id)),
      seed_(seed),
      id_hash_(base::Fnv1a(std::as_bytes(std::span(id_)))) {}

void HostServices::AddMetric(const std::string& name, double sum, uint64_t count) {
  std::lock_guard lock(mutex_);
  sums_[name].sum += sum;
  sums_[name].count += count;
}

std::map<std::string, HostServices::Sum> HostServices::TakeSums() {
  std::lock_guard lock(mutex_);
  return std::exchange(sums_, {});
}

base::MetricRow HostServices::TakeMetrics() {
  base::MetricRow row;
  for (const auto& [name, sum] : TakeSums()) {
    if (sum.count > 0) row[name] = sum.sum / static_cast<double>(sum.count);
  }
  return row;
}

void HostServices::Log(const volery_host* host, uint32_t level, volery_text message) {
  try {
    const base::LogLevel ours = level >= VOLERY_LOG_ERROR     ? base::LogLevel::kError
                                : level == VOLERY_LOG_WARNING ? base::LogLevel::kWarning
                                : level == VOLERY_LOG_INFO    ? base::LogLevel::kInfo
                                                              : base::LogLevel::kDebug;
    const char* blame =
        level == VOLERY_LOG_HOST_MISBEHAVING ? "the plugin says that the host broke the contract: " : "";
    base::Log(ours, Cat(Self(host).id_, ": ", blame, Copy(message)));
  } catch (const std::exception&) {  // nothing may be thrown through a plugin's C frames
  }
}

void HostServices::Metric(const volery_host* host, volery_text name, double value) {
  try {
    if (std::isfinite(value)) Self(host).AddMetric(Copy(name), value, 1);
  } catch (const std::exception&) {  // nothing may be thrown through a plugin's C frames
  }
}

uint32_t HostServices::RandomWord(const volery_host* host, uint32_t stream, uint64_t n) {
  const HostServices& self = Self(host);
  return base::RandomStream(self.seed_, base::RandomUse::kPlugin, self.id_hash_, stream).Word(n);
}

const void* HostServices::Extension(const volery_host*, const char*) {
  return nullptr;
}

}  // namespace volery::plugin
