#include "core/base/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <thread>

namespace volery::base {
namespace {

// Runs `body` in a child process and returns its wait status.
template <class Body>
int InChild(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    body();
    ::_exit(99);
  }
  int result = -1;
  EXPECT_EQ(::waitpid(child, &result, 0), child);
  return result;
}

TEST(SignalWatcher, TheFirstSignalRunsTheCallbackOnAnotherThread) {
  for (int number : {SIGINT, SIGTERM}) {
    std::latch called(1);
    std::atomic<int> got = 0;
    std::thread::id where;
    SignalWatcher watcher([&](int signal) {
      got = signal;
      where = std::this_thread::get_id();
      called.count_down();
    });
    EXPECT_FALSE(watcher.requested());
    ASSERT_EQ(::raise(number), 0);
    called.wait();
    EXPECT_EQ(got, number);
    EXPECT_NE(where, std::this_thread::get_id());
    EXPECT_TRUE(watcher.requested());
  }
}

TEST(SignalWatcher, TheSecondSignalEndsTheProcessWith130EvenInsideTheCallback) {
  const int result = InChild([] {
    std::latch called(1);
    SignalWatcher watcher([&](int) {
      called.count_down();
      for (;;) ::pause();
    });
    ::raise(SIGINT);
    called.wait();
    ::raise(SIGTERM);
  });
  ASSERT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), kExitInterrupted);
}

TEST(SignalWatcher, WithoutASignalNothingRunsAndTheOldHandlersComeBack) {
  bool ran = false;
  struct sigaction before, after;
  ::sigaction(SIGINT, nullptr, &before);
  {
    SignalWatcher watcher([&](int) { ran = true; });
  }
  ::sigaction(SIGINT, nullptr, &after);
  EXPECT_FALSE(ran);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

}  // namespace
}  // namespace volery::base
