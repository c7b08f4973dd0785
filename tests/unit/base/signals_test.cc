#include "core/base/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <thread>

namespace volery::base {
namespace {

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
  // A child started anew, not a fork of this process: sanitizers don't let a forked child start threads.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto two_signals = [] {
    ::alarm(60);
    std::latch called(1);
    SignalWatcher watcher([&](int) {
      called.count_down();
      for (;;) ::pause();
    });
    ::raise(SIGINT);
    called.wait();
    ::raise(SIGTERM);
  };
  EXPECT_EXIT(two_signals(), ::testing::ExitedWithCode(kExitInterrupted), "");
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
