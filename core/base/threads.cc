#include "core/base/threads.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "core/base/log.h"

namespace volery::base {

void SetThreadName(const std::string& name) {
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
}

NamedThread::NamedThread(const std::string& name, std::function<void()> body)
    : thread_([name, body = std::move(body)] {
        SetThreadName(name);
        body();
      }) {}

NamedThread::~NamedThread() {
  Join();
}

NamedThread& NamedThread::operator=(NamedThread&& other) {
  Join();
  thread_ = std::move(other.thread_);
  return *this;
}

void NamedThread::Join() {
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Entry::Moved() {
  std::lock_guard lock(watchdog_.mutex_);
  moved_ms_ = watchdog_.moved_ms_ = watchdog_.clock_.NowMs();
  waits_for_.clear();
}

void Watchdog::Entry::WaitsFor(const std::string& what) {
  std::lock_guard lock(watchdog_.mutex_);
  waits_for_ = what;
}

Watchdog::Watchdog(int64_t quiet_ms, Clock& clock)
    : quiet_ms_(quiet_ms), clock_(clock), moved_ms_(clock.NowMs()), reported_ms_(moved_ms_) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    end_ = true;
  }
  ending_.notify_all();
  thread_.Join();
}

std::shared_ptr<Watchdog::Entry> Watchdog::Register(const std::string& name,
                                                    std::function<std::string()> describe) {
  std::shared_ptr<Entry> entry(new Entry(*this, name, std::move(describe)));
  std::lock_guard lock(mutex_);
  entry->moved_ms_ = moved_ms_ = clock_.NowMs();
  entries_.push_back(entry);
  return entry;
}

std::optional<std::string> Watchdog::Check() {
  int64_t now;
  {
    std::lock_guard lock(mutex_);
    now = clock_.NowMs();
    std::erase_if(entries_, [](const auto& entry) { return entry.expired(); });
    if (entries_.empty() || now - std::max(moved_ms_, reported_ms_) < quiet_ms_) return std::nullopt;
    reported_ms_ = now;
  }
  const std::string report = Report(now);
  LogWarning(report);
  return report;
}

std::string Watchdog::Report(int64_t now_ms) {
  struct Line {
    std::shared_ptr<Entry> entry;
    std::string waits_for;
    int64_t quiet_s;
  };
  std::vector<Line> lines;
  std::string report;
  {
    std::lock_guard lock(mutex_);
    report = Cat("nothing has moved for ", (now_ms - moved_ms_) / 1000, " s");
    for (const std::weak_ptr<Entry>& weak : entries_) {
      if (auto entry = weak.lock())
        lines.push_back({entry, entry->waits_for_, (now_ms - entry->moved_ms_) / 1000});
    }
  }
  // Descriptions may take locks of their own, so they are asked for without ours.
  for (const Line& line : lines) {
    std::string doing = "working";
    if (!line.waits_for.empty()) {
      doing = "waits for " + line.waits_for;
    } else if (line.entry->describe_) {
      doing = line.entry->describe_();
    }
    report += Cat("\n  ", line.entry->name_, ": ", doing, " (last moved ", line.quiet_s, " s ago)");
  }
  return report;
}

void Watchdog::Start(int64_t every_ms) {
  thread_ = NamedThread("watchdog", [this, every_ms] {
    std::unique_lock lock(mutex_);
    while (!ending_.wait_for(lock, std::chrono::milliseconds(every_ms), [this] { return end_; })) {
      lock.unlock();
      Check();
      lock.lock();
    }
  });
}

}  // namespace volery::base
