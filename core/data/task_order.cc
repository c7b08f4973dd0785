#include "core/data/task_order.h"

#include "core/base/random.h"
#include "core/base/status.h"

namespace volery::data {
namespace {
constexpr uint32_t kFeistelRounds = 6;
}

TaskOrder::TaskOrder(uint64_t seed, int64_t tasks, int64_t groups_per_step)
    : seed_(seed),
      tasks_(static_cast<uint64_t>(tasks)),
      groups_per_step_(static_cast<uint64_t>(groups_per_step)),
      half_bits_(1) {
  VOLERY_CHECK(tasks > 0 && groups_per_step > 0);
  while ((uint64_t{1} << (2 * half_bits_)) < tasks_) ++half_bits_;
}

int64_t TaskOrder::IndexOf(GroupId id) const {
  if (id.round() > 0) {
    base::RandomStream random(seed_, base::RandomUse::kRefill, id.bits);
    return static_cast<int64_t>(random.NextBelow(tasks_));
  }
  const uint64_t position =
      static_cast<uint64_t>(id.step()) * groups_per_step_ + static_cast<uint64_t>(id.index());
  return static_cast<int64_t>(Permute(position / tasks_, position % tasks_));
}

// Cycle walking: a permutation of the power of four, applied until it falls below tasks_, permutes [0,
// tasks_).
uint64_t TaskOrder::Permute(uint64_t epoch, uint64_t position) const {
  do {
    position = Feistel(epoch, position);
  } while (position >= tasks_);
  return position;
}

uint64_t TaskOrder::Feistel(uint64_t epoch, uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint32_t round = 0; round < kFeistelRounds; ++round) {
    const base::RandomStream words(seed_, base::RandomUse::kTaskOrder, epoch, round);
    const uint64_t mixed = (left ^ words.Word(right)) & mask;
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

}  // namespace volery::data
