#include "core/base/threads.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <latch>

namespace volery::base {
namespace {

TEST(NamedThread, CarriesItsNameCutToWhatTheSystemTakes) {
  char name[32] = "";
  NamedThread thread("a name of more than fifteen bytes",
                     [&] { pthread_getname_np(pthread_self(), name, sizeof name); });
  thread.Join();
  EXPECT_STREQ(name, "a name of more ");
}

TEST(NamedThread, IsJoinedAtTheEndAndOnReplacement) {
  std::atomic<int> done = 0;
  {
    NamedThread thread("one", [&] { ++done; });
    thread = NamedThread("two", [&] { ++done; });
  }
  EXPECT_EQ(done, 2);
}

TEST(Watchdog, NamesWhatEachThreadWaitsForOnceAPeriod) {
  FakeClock clock;
  Watchdog watchdog(60'000, clock);
  auto sampler = watchdog.Register("sampler");
  auto trainer = watchdog.Register("trainer");
  auto pool = watchdog.Register("rewards", [] { return std::string("2 of 2 reward threads are scoring"); });
  clock.AdvanceMs(10'000);
  sampler->Moved();
  sampler->WaitsFor("weights of version 3");
  clock.AdvanceMs(59'999);
  EXPECT_EQ(watchdog.Check(), std::nullopt);
  clock.AdvanceMs(1);
  EXPECT_EQ(watchdog.Check(),
            "nothing has moved for 60 s\n"
            "  sampler: waits for weights of version 3 (last moved 60 s ago)\n"
            "  trainer: working (last moved 70 s ago)\n"
            "  rewards: 2 of 2 reward threads are scoring (last moved 70 s ago)");
  EXPECT_EQ(watchdog.Check(), std::nullopt);
  clock.AdvanceMs(60'000);
  EXPECT_NE(watchdog.Check().value().find("nothing has moved for 120 s"), std::string::npos);
}

TEST(Watchdog, WaitingAgainIsNoMovementButMovingIs) {
  FakeClock clock;
  Watchdog watchdog(1'000, clock);
  auto entry = watchdog.Register("trainer");
  clock.AdvanceMs(900);
  entry->WaitsFor("batch of step 1");
  clock.AdvanceMs(100);
  EXPECT_TRUE(watchdog.Check().has_value());
  entry->Moved();
  clock.AdvanceMs(999);
  EXPECT_EQ(watchdog.Check(), std::nullopt);
  clock.AdvanceMs(1);
  EXPECT_EQ(watchdog.Check(), "nothing has moved for 1 s\n  trainer: working (last moved 1 s ago)");
}

TEST(Watchdog, EntriesThatAreGoneDoNotCount) {
  FakeClock clock;
  Watchdog watchdog(1'000, clock);
  watchdog.Register("short");
  clock.AdvanceMs(5'000);
  EXPECT_EQ(watchdog.Check(), std::nullopt);
}

TEST(Watchdog, ItsThreadChecksAndEndsWithIt) {
  FakeClock clock;
  std::latch asked(1);
  std::atomic<bool> first = true;
  {
    Watchdog watchdog(1'000, clock);
    auto entry = watchdog.Register("sampler", [&] {
      if (first.exchange(false)) asked.count_down();
      return std::string("decoding");
    });
    clock.AdvanceMs(1'000);
    watchdog.Start(1);
    asked.wait();
  }
  EXPECT_FALSE(first);
}

}  // namespace
}  // namespace volery::base
