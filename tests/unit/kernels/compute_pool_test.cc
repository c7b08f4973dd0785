#include "compute_pool.h"

#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

namespace volery::nn {
namespace {

template <class Body>
void RunTasks(ComputePool& pool, int64_t tasks, const Body& body) {
  pool.Run(
      tasks, [](const void* context, int64_t task) { (*static_cast<const Body*>(context))(task); }, &body);
}

TEST(ComputePool, RunsEachTaskOnceRoundAfterRound) {
  for (int threads : {1, 2, 5}) {
    ComputePool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<int> runs(
        97);  // plain ints: a task run twice at once, or read before it ended, is a race that TSan reports
    for (int round = 0; round < 500; round++) {
      const int64_t tasks = round % 98;
      std::fill(runs.begin(), runs.end(), 0);
      RunTasks(pool, tasks, [&](int64_t task) { runs[task]++; });
      for (int64_t i = 0; i < 97; i++) ASSERT_EQ(runs[i], i < tasks ? 1 : 0);
    }
  }
}

TEST(ComputePool, WakesThreadsThatSleep) {
  ComputePool pool(2);
  for (int round = 0; round < 20; round++) {
    // The second task waits for the first one to start elsewhere: it ends only if a sleeping thread wakes.
    std::atomic<int> started{0};
    RunTasks(pool, 2, [&](int64_t) {
      started++;
      while (started < 2) std::this_thread::yield();
    });
    EXPECT_EQ(started, 2);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(round % 2 ? 200 : 0);
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
  }
}

TEST(ComputePool, RunsNestedTasksOnTheSpot) {
  ComputePool pool(3);
  std::vector<std::vector<int>> seen(6, std::vector<int>(4));
  RunTasks(pool, 6, [&](int64_t outer) { RunTasks(pool, 4, [&](int64_t inner) { seen[outer][inner]++; }); });
  for (const auto& row : seen) EXPECT_EQ(row, std::vector<int>(4, 1));
}

TEST(ComputePool, RethrowsAfterAllTasksAndGoesOn) {
  ComputePool pool(2);
  std::atomic<int> ran{0};
  const auto fail = [&](int64_t task) {
    ran++;
    if (task == 3) throw std::runtime_error("task 3");
  };
  EXPECT_THROW(RunTasks(pool, 8, fail), std::runtime_error);
  EXPECT_EQ(ran, 8);
  RunTasks(pool, 3, [&](int64_t) { ran++; });
  EXPECT_EQ(ran, 11);
  EXPECT_THROW(RunTasks(pool, ComputePool::kMaxTasks + 1, [](int64_t) {}), std::invalid_argument);
}

}  // namespace
}  // namespace volery::nn
