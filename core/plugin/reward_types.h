#pragma once
// What a reward plugin is given and gives back, as plain data.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/data/rollout.h"

namespace volery::plugin {

// One finished rollout to judge.
struct RewardSample {
  GroupId group;
  int32_t sample = 0;  // number within the group
  int64_t task_index = 0;
  std::string task_id, task_type;
  std::string prompt, completion, answer;
  data::StopReason stop = data::StopReason::kStop;
  std::vector<data::Span> spans;                  // may be empty
  std::shared_ptr<const nlohmann::json> columns;  // object of the dataset row, or null
};

struct RewardResult {
  data::RewardStatus status = data::RewardStatus::kError;
  double score = 0;  // counts with kOk only
  std::vector<data::RewardComponent> components;
  std::string message;  // why not kOk
  double ms = 0;
};

}  // namespace volery::plugin
