#pragma once
// The held-out split: evaluation tasks chosen by the seed and never trained on. A task whose prompt equals a
// held-out one leaves the training side too, so that no evaluation prompt is ever seen in training.

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/status.h"
#include "core/data/seams.h"

namespace volery::data {

// Some of another source's tasks, in the given order. Task::index stays the original row.
class TaskSubset : public TaskSource {
 public:
  TaskSubset(std::shared_ptr<const TaskSource> all, std::vector<int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  StatusOr<std::shared_ptr<const Task>> Get(int64_t index) const override;

 private:
  std::shared_ptr<const TaskSource> all_;
  std::vector<int64_t> indices_;
};

struct TaskSplit {
  std::shared_ptr<const TaskSource> train;
  std::shared_ptr<const TaskSource> held_out;  // null when none was asked for
};

// Holds out `count` tasks (0: none). Reads every task once. Errors: not enough tasks for both sides.
StatusOr<TaskSplit> SplitHeldOut(std::shared_ptr<const TaskSource> all, int64_t count, uint64_t seed);

}  // namespace volery::data
