#include "core/base/clock.h"

#include <atomic>
#include <chrono>

namespace volery::base {
namespace {

class RealClock : public Clock {
 public:
  int64_t NowMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  double NowSeconds() const override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  double UnixSeconds() const override {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
};

}  // namespace

Clock& Clock::Real() {
  static RealClock clock;
  return clock;
}

int64_t FakeClock::NowMs() const { return std::atomic_ref<int64_t>(now_ms_).load(); }
double FakeClock::UnixSeconds() const { return static_cast<double>(NowMs()) * 1e-3; }
void FakeClock::AdvanceMs(int64_t ms) { std::atomic_ref<int64_t>(now_ms_).fetch_add(ms); }

}  // namespace volery::base
