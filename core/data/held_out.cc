#include "core/data/held_out.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "core/base/random.h"

namespace volery::data {
namespace {

// The first `count` places of a Fisher-Yates shuffle, ascending.
std::vector<int64_t> Choose(int64_t total, int64_t count, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(total));
  std::iota(order.begin(), order.end(), 0);
  base::RandomStream random(seed, base::RandomUse::kEval);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t other = i + static_cast<int64_t>(random.NextBelow(static_cast<uint64_t>(total - i)));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(other)]);
  }
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

StatusOr<std::shared_ptr<const Task>> TaskSubset::Get(int64_t index) const {
  if (index < 0 || index >= size()) return InternalError("task ", index, " of ", size());
  return all_->Get(indices_[static_cast<size_t>(index)]);
}

StatusOr<TaskSplit> SplitHeldOut(std::shared_ptr<const TaskSource> all, int64_t count, uint64_t seed) {
  if (count <= 0) return TaskSplit{std::move(all), nullptr};
  const int64_t total = all->size();
  if (count >= total) {
    return InvalidError("eval.tasks = ", count, " would hold out all of the ", total,
                        " tasks; lower it, add tasks or name a file of its own as eval.file");
  }
  std::vector<int64_t> held_out = Choose(total, count, seed);
  std::unordered_set<std::string> prompts;
  for (int64_t index : held_out) {
    VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const Task> task, all->Get(index));
    prompts.insert(task->prompt_text);
  }
  std::vector<int64_t> train;
  for (int64_t index = 0; index < total; ++index) {
    VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const Task> task, all->Get(index));
    if (!prompts.contains(task->prompt_text)) train.push_back(index);
  }
  if (train.empty()) {
    return InvalidError(
        "every task has the prompt of a held-out one, so none is left to train on; lower eval.tasks = ",
        count, " or add tasks with other prompts");
  }
  TaskSplit split;
  split.train = std::make_shared<TaskSubset>(all, std::move(train));
  split.held_out = std::make_shared<TaskSubset>(std::move(all), std::move(held_out));
  return split;
}

}  // namespace volery::data
