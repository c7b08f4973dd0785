#include "core/base/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "core/base/status.h"

namespace volery::base {
namespace {

// What the handler may touch: lock-free atomics and a pipe.
std::atomic<int> signals_seen = 0;
std::atomic<int> pipe_fd = -1;
std::atomic<bool> watcher_lives = false;
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int number) {
  const int saved_errno = errno;
  if (signals_seen.fetch_add(1) > 0) {
    constexpr char kMessage[] = "\nstopped at once\n";
    [[maybe_unused]] ssize_t ignored = ::write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
    ::_exit(kExitInterrupted);
  }
  const auto byte = static_cast<unsigned char>(number);
  [[maybe_unused]] ssize_t ignored = ::write(pipe_fd.load(), &byte, 1);
  errno = saved_errno;
}

}  // namespace

struct SignalWatcher::Handlers {
  struct sigaction interrupt, terminate;
};

SignalWatcher::SignalWatcher(std::function<void(int)> on_first)
    : on_first_(std::move(on_first)), previous_(std::make_unique<Handlers>()) {
  VOLERY_CHECK(!watcher_lives.exchange(true));
  int fds[2];
  VOLERY_CHECK(::pipe2(fds, O_CLOEXEC) == 0);
  read_fd_ = fds[0];
  write_fd_ = fds[1];
  signals_seen = 0;
  pipe_fd = write_fd_;
  thread_ = std::thread([this] {
    unsigned char number = 0;
    ssize_t n;
    while ((n = ::read(read_fd_, &number, 1)) < 0 && errno == EINTR) {
    }
    if (n == 1 && number != 0) on_first_(number);
  });
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  VOLERY_CHECK(::sigaction(SIGINT, &action, &previous_->interrupt) == 0);
  VOLERY_CHECK(::sigaction(SIGTERM, &action, &previous_->terminate) == 0);
}

SignalWatcher::~SignalWatcher() {
  ::sigaction(SIGINT, &previous_->interrupt, nullptr);
  ::sigaction(SIGTERM, &previous_->terminate, nullptr);
  constexpr unsigned char kEnd = 0;
  while (::write(write_fd_, &kEnd, 1) < 0 && errno == EINTR) {
  }
  thread_.join();
  ::close(read_fd_);
  ::close(write_fd_);
  watcher_lives = false;
}

bool SignalWatcher::requested() const {
  return signals_seen.load() > 0;
}

}  // namespace volery::base
