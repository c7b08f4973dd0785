#pragma once
// One step of a finished or running run as text, for `volery inspect`: the prompt, its siblings with their
// answers and reward parts, and each sampled token's log-prob and weight version. Reads what
// RolloutFileWriter wrote.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/base/ids.h"
#include "core/base/status.h"

namespace volery::orchestration {

struct InspectOptions {
  std::optional<int64_t> group;  // the n-th group of the step; none: an overview of all
  // Text of one token, to stand beside its numbers. May be empty: ids only.
  std::function<std::string(int32_t token)> token_text;
};

// `rollouts`: the run's rollout folder. NotFound: no such step (with those that exist) or group.
StatusOr<std::string> InspectStep(const std::string& rollouts, StepId step, const InspectOptions& options);

}  // namespace volery::orchestration
