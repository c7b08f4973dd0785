#pragma once
// The numbers of a step that come from its groups, under the names of the design: reward/*, advantage/*,
// groups/*, seq_len/*, truncated, staleness/*, dropped/*. Times and rates come from the loop, the rest from
// the trainer.

#include "core/base/metrics.h"
#include "core/orchestration/step_ledger.h"

namespace volery::orchestration {

// reward/*, seq_len/*, truncated: over all scored rollouts of the step, also of groups that did not train.
// advantage/*, staleness/* (step - oldest version in the decode state, per rollout): over the rollouts that
// trained. groups/solved_all, solved_none: shares of the scored groups whose rewards are all equal and
// positive, or none positive. seq_len: prompt and completion in tokens. A figure over nothing is left out.
base::MetricRow StepMetrics(const StepGroups& groups);

}  // namespace volery::orchestration
