#pragma once
// NamedThread: a thread with a name that debuggers and log lines show, joined at the end of its life.
// Watchdog: says who waits for what when nothing has moved for a while. It never ends a run; it makes a stall
// readable.
//
//   base::Watchdog watchdog(60'000);
//   auto sampler = watchdog.Register("sampler");
//   sampler->WaitsFor("weights of version 3");  ...  sampler->Moved();

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"

namespace volery::base {

// Names the calling thread (the system keeps the first 15 bytes).
void SetThreadName(const std::string& name);

// `body` must return by itself (by the stop token, a closed queue ...): the destructor waits for it. An
// exception that leaves `body` ends the program.
class NamedThread {
 public:
  NamedThread() = default;
  NamedThread(const std::string& name, std::function<void()> body);
  ~NamedThread();
  NamedThread(NamedThread&&) = default;
  NamedThread& operator=(NamedThread&& other);
  void Join();

 private:
  std::thread thread_;
};

class Watchdog {
 public:
  // One thread's entry; thread-safe.
  class Entry {
   public:
    // Something happened that brings the run on (a token, a group, a step). Ends a wait.
    void Moved();
    // From now on the thread waits for this. Not a movement, so that polling in a loop doesn't hide a stall.
    void WaitsFor(const std::string& what);

   private:
    friend class Watchdog;
    Entry(Watchdog& watchdog, std::string name, std::function<std::string()> describe)
        : watchdog_(watchdog), name_(std::move(name)), describe_(std::move(describe)) {}
    Watchdog& watchdog_;
    const std::string name_;
    const std::function<std::string()> describe_;
    std::string waits_for_;
    int64_t moved_ms_ = 0;
  };

  explicit Watchdog(int64_t quiet_ms, Clock& clock = Clock::Real());
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // The entry counts as long as the caller keeps it, which must not be longer than the watchdog lives.
  // `describe`, if given, is asked at a stall what the thread is doing ("decoding 12 sequences"), unless
  // WaitsFor said so; it must be thread-safe and must not call the watchdog.
  std::shared_ptr<Entry> Register(const std::string& name, std::function<std::string()> describe = nullptr);

  // If no entry has moved for quiet_ms: logs and returns a line for each, e.g.
  //   nothing has moved for 60 s
  //     sampler: waits for weights of version 3 (last moved 60 s ago)
  // once, and again after each further quiet_ms. Nothing otherwise.
  std::optional<std::string> Check();

  // Calls Check every `every_ms` of real time on a thread of its own until the destructor.
  void Start(int64_t every_ms = 1000);

 private:
  std::string Report(int64_t now_ms);

  const int64_t quiet_ms_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable ending_;
  bool end_ = false;
  int64_t moved_ms_, reported_ms_;
  std::vector<std::weak_ptr<Entry>> entries_;
  NamedThread thread_;
};

}  // namespace volery::base
