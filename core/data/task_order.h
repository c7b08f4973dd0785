#pragma once
// Which task a group gets: a pure function of (seed, group id), so that neither timing nor a resume changes
// it. Round 0 walks a fresh permutation of all tasks per epoch; refill rounds draw from a second keyed
// stream.

#include <cstdint>

#include "core/base/ids.h"
#include "core/data/permutation.h"

namespace volery::data {

class TaskOrder {
 public:
  // tasks > 0, groups_per_step > 0.
  TaskOrder(uint64_t seed, int64_t tasks, int64_t groups_per_step);
  int64_t IndexOf(GroupId id) const;  // in [0, tasks)

 private:
  uint64_t seed_, groups_per_step_;
  Permutation tasks_;
};

}  // namespace volery::data
