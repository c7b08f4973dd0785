#include "core/data/task_order.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace volery::data {
namespace {

std::vector<int64_t> Walk(const TaskOrder& order, int64_t begin, int64_t end, int groups) {
  std::vector<int64_t> walked;
  for (int64_t position = begin; position < end; ++position) {
    walked.push_back(order.IndexOf(GroupId::Make(position / groups, 0, static_cast<int>(position % groups))));
  }
  return walked;
}

TEST(TaskOrder, EachEpochIsAPermutation) {
  for (int64_t tasks : {1, 2, 3, 4, 5, 16, 17, 100, 1000}) {
    const TaskOrder order(9, tasks, 4);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const auto walked = Walk(order, epoch * tasks, (epoch + 1) * tasks, 4);
      EXPECT_EQ(std::set<int64_t>(walked.begin(), walked.end()).size(), static_cast<size_t>(tasks));
      for (int64_t index : walked) EXPECT_TRUE(index >= 0 && index < tasks);
    }
  }
}

TEST(TaskOrder, EpochsAndSeedsDiffer) {
  const TaskOrder order(9, 100, 4), other(10, 100, 4);
  EXPECT_NE(Walk(order, 0, 100, 4), Walk(order, 100, 200, 4));
  EXPECT_NE(Walk(order, 0, 100, 4), Walk(other, 0, 100, 4));
  EXPECT_EQ(Walk(order, 37, 90, 4), Walk(TaskOrder(9, 100, 4), 37, 90, 4));
}

TEST(TaskOrder, FirstPlacesAreUniform) {
  std::vector<int> counts(10, 0);
  for (uint64_t seed = 0; seed < 2000; ++seed)
    ++counts[static_cast<size_t>(TaskOrder(seed, 10, 4).IndexOf(GroupId::Make(0, 0, 0)))];
  double chi_squared = 0;
  for (int count : counts) chi_squared += (count - 200.0) * (count - 200.0) / 200.0;
  EXPECT_LT(chi_squared, 27.9);  // 9 degrees of freedom, p = 0.001
}

TEST(TaskOrder, RefillRoundsDrawFromTheirOwnStream) {
  const TaskOrder order(9, 1000, 4);
  std::set<int64_t> drawn;
  for (int round = 1; round <= 3; ++round) {
    for (int index = 0; index < 4; ++index) {
      const int64_t task = order.IndexOf(GroupId::Make(5, round, index));
      EXPECT_TRUE(task >= 0 && task < 1000);
      EXPECT_EQ(task, order.IndexOf(GroupId::Make(5, round, index)));
      drawn.insert(task);
    }
  }
  EXPECT_GE(drawn.size(), 11u);
}

}  // namespace
}  // namespace volery::data
