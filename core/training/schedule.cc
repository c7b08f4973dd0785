#include "core/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace volery::training {

namespace {

// Of the way from the rate to its end.
double Left(Decay decay, double progress) {
  switch (decay) {
    case Decay::kLinear:
      return 1 - progress;
    case Decay::kCosine:
      return (1 + std::cos(std::numbers::pi * progress)) / 2;
    case Decay::kQuarterCosine:
      return std::cos(std::numbers::pi / 2 * progress);
    case Decay::kOneMinusSqrt:
      return 1 - std::sqrt(progress);
    case Decay::kConstant:
    case Decay::kExponential:
      break;
  }
  return 1;
}

double WarmupFactor(const Schedule& schedule, int64_t step) {
  if (step >= schedule.warmup_steps) return 1;
  const auto steps = static_cast<double>(schedule.warmup_steps);
  if (schedule.warmup_start <= 0) return static_cast<double>(step + 1) / steps;
  return schedule.warmup_start + (1 - schedule.warmup_start) * static_cast<double>(step) / steps;
}

}  // namespace

StatusOr<Decay> ParseDecay(std::string_view word) {
  if (word == "constant") return Decay::kConstant;
  if (word == "linear") return Decay::kLinear;
  if (word == "cosine") return Decay::kCosine;
  if (word == "exponential") return Decay::kExponential;
  if (word == "quarter_cosine") return Decay::kQuarterCosine;
  if (word == "one_minus_sqrt") return Decay::kOneMinusSqrt;
  return InvalidError("schedule = \"", word,
                      "\"; expected one of \"constant\", \"linear\", \"cosine\", \"exponential\", "
                      "\"quarter_cosine\", \"one_minus_sqrt\"");
}

double DecayProgress(const Schedule& schedule, int64_t step) {
  const int64_t begin = schedule.warmup_steps + schedule.hold_steps;
  const auto all = static_cast<double>(std::max<int64_t>(1, schedule.total_steps - begin));
  return std::clamp(static_cast<double>(step - begin) / all, 0.0, 1.0);
}

double LearningRate(const Schedule& schedule, int64_t step) {
  const double rate = schedule.learning_rate * WarmupFactor(schedule, step);
  if (schedule.decay == Decay::kConstant || step < schedule.warmup_steps) return rate;
  const double progress = DecayProgress(schedule, step), end = schedule.final_fraction;
  if (schedule.decay == Decay::kExponential) return rate * std::pow(end, progress);
  return rate * (end + (1 - end) * Left(schedule.decay, progress));
}

double WeightDecay(const Schedule& schedule, double weight_decay, int64_t step) {
  if (schedule.final_weight_decay <= 0 || weight_decay <= 0) return weight_decay;
  return weight_decay * std::pow(schedule.final_weight_decay / weight_decay, DecayProgress(schedule, step));
}

Status CheckSchedule(const Schedule& schedule) {
  if (!(schedule.learning_rate >= 0) || !std::isfinite(schedule.learning_rate)) {
    return InvalidError("learning_rate = ", schedule.learning_rate, "; expected a number >= 0");
  }
  if (schedule.warmup_steps < 0)
    return InvalidError("warmup_steps = ", schedule.warmup_steps, "; expected >= 0");
  if (schedule.decay != Decay::kConstant &&
      schedule.total_steps <= schedule.warmup_steps + schedule.hold_steps) {
    return InvalidError(
        "total_steps = ", schedule.total_steps,
        "; a decaying schedule needs more than warmup_steps = ", schedule.warmup_steps,
        schedule.hold_steps > 0 ? Cat(" and the ", schedule.hold_steps, " steps that it holds") : "");
  }
  if (!(schedule.warmup_start >= 0 && schedule.warmup_start <= 1))
    return InvalidError("warmup_start = ", schedule.warmup_start, "; expected 0 to 1");
  if (schedule.hold_steps < 0) return InvalidError("hold_steps = ", schedule.hold_steps, "; expected >= 0");
  if (schedule.decay == Decay::kExponential && !(schedule.final_fraction > 0))
    return InvalidError("final_fraction = ", schedule.final_fraction,
                        "; an exponential schedule never reaches 0, expected > 0");
  if (!(schedule.final_fraction >= 0 && schedule.final_fraction <= 1)) {
    return InvalidError("final_fraction = ", schedule.final_fraction, "; expected 0 to 1");
  }
  return OkStatus();
}

}  // namespace volery::training
