#pragma once
// Two-level Ctrl-C. The first SIGINT or SIGTERM runs a callback (which asks the run to finish its step); the
// second ends the process at once with exit code 130. Between construction and destruction the process's
// handlers are these.
//
//   base::SignalWatcher watcher([&](int) { finish.RequestStop(CancelledError("stopped by Ctrl-C")); });

#include <functional>
#include <memory>
#include <thread>

namespace volery::base {

inline constexpr int kExitInterrupted = 130;

// At most one lives at a time (CHECK).
class SignalWatcher {
 public:
  // `on_first` gets the signal's number and runs once, on the watcher's own thread, so it may lock and log.
  explicit SignalWatcher(std::function<void(int signal)> on_first);
  ~SignalWatcher();  // puts the previous handlers back
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  // True from the moment the first signal arrived. Thread-safe.
  bool requested() const;

 private:
  struct Handlers;
  std::function<void(int)> on_first_;
  int read_fd_ = -1, write_fd_ = -1;
  std::unique_ptr<Handlers> previous_;
  std::thread thread_;
};

}  // namespace volery::base
