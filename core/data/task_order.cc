#include "core/data/task_order.h"

#include "core/base/random.h"
#include "core/base/status.h"

namespace volery::data {

TaskOrder::TaskOrder(uint64_t seed, int64_t tasks, int64_t groups_per_step)
    : seed_(seed),
      groups_per_step_(static_cast<uint64_t>(groups_per_step)),
      tasks_(seed, base::RandomUse::kTaskOrder, tasks) {
  VOLERY_CHECK(groups_per_step > 0);
}

int64_t TaskOrder::IndexOf(GroupId id) const {
  const auto tasks = static_cast<uint64_t>(tasks_.size());
  if (id.round() > 0) {
    base::RandomStream random(seed_, base::RandomUse::kRefill, id.bits);
    return static_cast<int64_t>(random.NextBelow(tasks));
  }
  const uint64_t position =
      static_cast<uint64_t>(id.step()) * groups_per_step_ + static_cast<uint64_t>(id.index());
  return tasks_.At(position / tasks, static_cast<int64_t>(position % tasks));
}

}  // namespace volery::data
