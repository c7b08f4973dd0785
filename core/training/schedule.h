#pragma once
// Learning rate of an optimiser step: linear warm-up, then constant, linear or cosine decay. Pure functions.

#include <cstdint>
#include <string_view>

#include "core/base/status.h"

namespace volery::training {

enum class Decay : uint8_t { kConstant, kLinear, kCosine };
StatusOr<Decay> ParseDecay(std::string_view word);  // "constant" | "linear" | "cosine"

struct Schedule {
  double learning_rate = 1e-6;
  int64_t warmup_steps = 0;  // optimiser step n < warmup_steps runs at (n + 1) / warmup_steps of the rate
  Decay decay = Decay::kConstant;
  int64_t total_steps = 0;    // where the decay ends, in optimiser steps; needed unless constant
  double final_fraction = 0;  // of the rate, at and after total_steps
};

// `step` counts from 0.
double LearningRate(const Schedule& schedule, int64_t step);
Status CheckSchedule(const Schedule& schedule);

}  // namespace volery::training
