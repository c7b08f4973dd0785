#pragma once
// The rollouts of each step on disk: <folder>/step_N.parquet (one row a rollout, formats/rollout_file.h) and
// beside it step_N.rewards.jsonl, one line a rollout with what the table has no column for: the parts of its
// reward.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/formats/rollout_file.h"
#include "core/orchestration/step_ledger.h"

namespace volery::orchestration {

// Saves a step's groups. Called by the loop's thread.
class RolloutWriter {
 public:
  virtual ~RolloutWriter() = default;
  virtual Status Write(const StepGroups& groups) = 0;
};

class RolloutFileWriter : public RolloutWriter {
 public:
  // `seed`: the run's; noise is keyed by it, the group and the sample.
  RolloutFileWriter(std::string folder, uint64_t seed) : folder_(std::move(folder)), seed_(seed) {}
  Status Write(const StepGroups& groups) override;  // each file completely or not at all

 private:
  std::string folder_;
  uint64_t seed_;
};

std::string RolloutPath(const std::string& folder, StepId step);
std::string RewardPath(const std::string& folder, StepId step);

// One row. `advantage` 0 where the group did not train.
formats::RolloutRow ToRow(const data::Group& group, const data::Rollout& rollout, double advantage,
                          uint64_t seed);

// Removes the files of `step` and all later steps.
Status CutRollouts(const std::string& folder, StepId step);

// Every distinct completion in the run's rollout files, sorted.
StatusOr<std::vector<std::string>> SampledCompletions(const std::string& folder);

}  // namespace volery::orchestration
