#pragma once
// Strong integer ids, so that a step is never passed where a version is meant.

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>

namespace volery {

template <class Tag>
struct StrongId {
  int64_t value = 0;
  constexpr StrongId() = default;
  constexpr explicit StrongId(int64_t v) : value(v) {}
  friend constexpr auto operator<=>(const StrongId&, const StrongId&) = default;
  friend std::ostream& operator<<(std::ostream& out, const StrongId& id) { return out << id.value; }
};

using VersionId = StrongId<struct VersionTag>;  // version v: the weights after v steps
using StepId = StrongId<struct StepTag>;        // step s turns version s into s + 1

// A group's id, known before it is admitted: (target step, refill round, index in the round), ordered in that order.
// 64 bits: 32 of step, 8 of round, 24 of index.
struct GroupId {
  uint64_t bits = 0;
  static constexpr GroupId Make(int64_t step, int round, int index) {
    return {static_cast<uint64_t>(step) << 32 | static_cast<uint64_t>(round) << 24 | static_cast<uint64_t>(index)};
  }
  constexpr int64_t step() const { return static_cast<int64_t>(bits >> 32); }
  constexpr int round() const { return static_cast<int>(bits >> 24 & 0xff); }
  constexpr int index() const { return static_cast<int>(bits & 0xffffff); }
  friend constexpr auto operator<=>(const GroupId&, const GroupId&) = default;
};

}  // namespace volery

template <class Tag>
struct std::hash<volery::StrongId<Tag>> {
  size_t operator()(const volery::StrongId<Tag>& id) const { return std::hash<int64_t>()(id.value); }
};
template <>
struct std::hash<volery::GroupId> {
  size_t operator()(const volery::GroupId& id) const { return std::hash<uint64_t>()(id.bits); }
};
