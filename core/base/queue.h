#pragma once
// Waiting without hanging: StopToken (the run's one stop signal, with its reason) and BoundedQueue (every wait ends by an
// item, a close, a stop or a deadline). All functions are thread-safe.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/base/status.h"

namespace volery::base {

// Copies share one state. The first RequestStop wins; its status is what every later wait returns.
class StopToken {
 public:
  StopToken();
  void RequestStop(Status reason) const;     // reason: CancelledError(...) for Ctrl-C, else the thread's error
  bool stopped() const;
  Status reason() const;                     // OK while not stopped
  // Runs `callback` once when stop is requested (at once if it was); the returned handle unregisters. Callbacks must not block.
  std::shared_ptr<void> OnStop(std::function<void()> callback) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

template <class T>
class BoundedQueue {
 public:
  BoundedQueue(size_t capacity, StopToken stop)
      : capacity_(capacity), stop_(std::move(stop)), handle_(stop_.OnStop([this] { Wake(); })) {}

  // Blocks while full. Errors: the stop reason; FailedPrecondition after Close; DeadlineExceeded (negative = no deadline).
  Status Push(T item, int64_t timeout_ms = -1) {
    std::unique_lock lock(mutex_);
    if (!Wait(lock, timeout_ms, [&] { return closed_ || items_.size() < capacity_; })) return DeadlineError("queue stayed full for ", timeout_ms, " ms");
    if (stop_.stopped()) return stop_.reason();
    if (closed_) return PreconditionError("queue is closed");
    items_.push_back(std::move(item));
    changed_.notify_all();
    return OkStatus();
  }
  // Blocks while empty. Errors as Push; a closed queue hands out what it still holds first.
  StatusOr<T> Pop(int64_t timeout_ms = -1) {
    std::unique_lock lock(mutex_);
    if (!Wait(lock, timeout_ms, [&] { return closed_ || !items_.empty(); })) return DeadlineError("nothing arrived for ", timeout_ms, " ms");
    if (stop_.stopped()) return stop_.reason();
    if (items_.empty()) return PreconditionError("queue is closed");
    T item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return item;
  }
  std::optional<T> TryPop() {
    std::lock_guard lock(mutex_);
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return item;
  }
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  template <class Ready>
  bool Wait(std::unique_lock<std::mutex>& lock, int64_t timeout_ms, Ready ready) {
    auto done = [&] { return stop_.stopped() || ready(); };
    if (timeout_ms < 0) {
      changed_.wait(lock, done);
      return true;
    }
    return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), done);
  }
  void Wake() {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  const size_t capacity_;
  StopToken stop_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
  bool closed_ = false;
  std::shared_ptr<void> handle_;
};

}  // namespace volery::base
