#include "core/base/queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace volery::base {
namespace {

TEST(StopToken, TheFirstReasonWinsAndReachesEveryCopy) {
  StopToken stop;
  const StopToken copy = stop;
  EXPECT_TRUE(copy.reason().ok());
  stop.RequestStop(CancelledError("stopped by Ctrl-C"));
  copy.RequestStop(InternalError("later"));
  EXPECT_TRUE(copy.stopped());
  EXPECT_EQ(stop.reason(), CancelledError("stopped by Ctrl-C"));
}

TEST(StopToken, CallbacksRunOnceAndNotAfterTheirHandleIsGone) {
  StopToken stop;
  int kept = 0, dropped = 0, late = 0;
  auto handle = stop.OnStop([&] { ++kept; });
  stop.OnStop([&] { ++dropped; });
  stop.RequestStop(CancelledError("x"));
  stop.RequestStop(CancelledError("y"));
  stop.OnStop([&] { ++late; });
  EXPECT_EQ(kept, 1);
  EXPECT_EQ(dropped, 0);
  EXPECT_EQ(late, 1);
}

TEST(StopToken, ACallbackMayReadTheReason) {
  StopToken stop;
  Status seen;
  auto handle = stop.OnStop([&] { seen = stop.reason(); });
  stop.RequestStop(InternalError("broken"));
  EXPECT_EQ(seen, InternalError("broken"));
}

TEST(BoundedQueue, HandsOutInOrderAndWhatACloseLeft) {
  BoundedQueue<int> queue(4, StopToken());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.Push(i).ok());
  queue.Close();
  EXPECT_EQ(queue.Push(9).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(*queue.Pop(), 0);
  EXPECT_EQ(*queue.TryPop(), 1);
  EXPECT_EQ(*queue.Pop(), 2);
  EXPECT_EQ(queue.Pop().status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

TEST(BoundedQueue, DeadlinesEndWaitsOnBothSides) {
  BoundedQueue<int> queue(1, StopToken());
  EXPECT_EQ(queue.Pop(1).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(queue.Push(1).ok());
  EXPECT_EQ(queue.Push(2, 1).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(queue.size(), 1u);
}

TEST(BoundedQueue, AStopWakesABlockedPopWithItsReason) {
  StopToken stop;
  BoundedQueue<int> queue(1, stop);
  Status popped;
  std::thread reader([&] { popped = queue.Pop().status(); });
  stop.RequestStop(InternalError("trainer thread: broken"));
  reader.join();
  EXPECT_EQ(popped, InternalError("trainer thread: broken"));
}

TEST(BoundedQueue, AFullQueueMakesTheWriterWaitAndLosesNothing) {
  BoundedQueue<int> queue(2, StopToken());
  constexpr int kItems = 2000;
  std::thread writer([&] {
    for (int i = 0; i < kItems; ++i) ASSERT_TRUE(queue.Push(i).ok());
    queue.Close();
  });
  int expected = 0;
  for (;;) {
    EXPECT_LE(queue.size(), 2u);
    StatusOr<int> item = queue.Pop();
    if (!item.ok()) break;
    EXPECT_EQ(*item, expected++);
  }
  writer.join();
  EXPECT_EQ(expected, kItems);
}

}  // namespace
}  // namespace volery::base
