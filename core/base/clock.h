#pragma once
// Time behind an interface, so that deadlines and rates are tested without sleeping.

#include <cstdint>

namespace volery::base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t NowMs() const = 0;    // monotonic milliseconds
  virtual double NowSeconds() const { return static_cast<double>(NowMs()) * 1e-3; }
  virtual double UnixSeconds() const = 0;  // wall clock, for event files
  static Clock& Real();
};

// Time moves only when Advance is called. Thread-safe.
class FakeClock : public Clock {
 public:
  int64_t NowMs() const override;
  double UnixSeconds() const override;
  void AdvanceMs(int64_t ms);

 private:
  mutable int64_t now_ms_ = 1'000'000;  // accessed atomically
};

}  // namespace volery::base
