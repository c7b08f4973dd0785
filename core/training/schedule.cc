#include "core/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace volery::training {

StatusOr<Decay> ParseDecay(std::string_view word) {
  if (word == "constant") return Decay::kConstant;
  if (word == "linear") return Decay::kLinear;
  if (word == "cosine") return Decay::kCosine;
  return InvalidError("schedule = \"", word, "\"; expected one of \"constant\", \"linear\", \"cosine\"");
}

double LearningRate(const Schedule& schedule, int64_t step) {
  if (step < schedule.warmup_steps) {
    return schedule.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(schedule.warmup_steps);
  }
  if (schedule.decay == Decay::kConstant) return schedule.learning_rate;
  const double done = std::min(
      1.0, static_cast<double>(step - schedule.warmup_steps) /
               static_cast<double>(std::max<int64_t>(1, schedule.total_steps - schedule.warmup_steps)));
  const double left =
      schedule.decay == Decay::kLinear ? 1 - done : (1 + std::cos(std::numbers::pi * done)) / 2;
  return schedule.learning_rate * (schedule.final_fraction + (1 - schedule.final_fraction) * left);
}

Status CheckSchedule(const Schedule& schedule) {
  if (!(schedule.learning_rate >= 0) || !std::isfinite(schedule.learning_rate)) {
    return InvalidError("learning_rate = ", schedule.learning_rate, "; expected a number >= 0");
  }
  if (schedule.warmup_steps < 0)
    return InvalidError("warmup_steps = ", schedule.warmup_steps, "; expected >= 0");
  if (schedule.decay != Decay::kConstant && schedule.total_steps <= schedule.warmup_steps) {
    return InvalidError("total_steps = ", schedule.total_steps,
                        "; a decaying schedule needs more than warmup_steps = ", schedule.warmup_steps);
  }
  if (!(schedule.final_fraction >= 0 && schedule.final_fraction <= 1)) {
    return InvalidError("final_fraction = ", schedule.final_fraction, "; expected 0 to 1");
  }
  return OkStatus();
}

}  // namespace volery::training
