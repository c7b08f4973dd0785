#pragma once
// Learning rate and weight decay of an optimiser step: linear warm-up, then a decay. Pure functions. The
// decays that RWKV's and GoldFinch's training code know are among them: kCosine (RWKV, by tokens),
// kExponential, kQuarterCosine, kOneMinusSqrt and kLinear (GoldFinch), with warmup_start 0.01 or 0.2.

#include <cstdint>
#include <string_view>

#include "core/base/status.h"

namespace volery::training {

// What is left of the way from the rate to its end, p the progress in [0, 1]: 1 - p; (1 + cos(pi p)) / 2;
// cos(pi p / 2); 1 - sqrt(p). kExponential: rate x final_fraction^p.
enum class Decay : uint8_t { kConstant, kLinear, kCosine, kExponential, kQuarterCosine, kOneMinusSqrt };
StatusOr<Decay> ParseDecay(
    std::string_view word);  // "constant", "linear" ... "quarter_cosine", "one_minus_sqrt"

struct Schedule {
  double learning_rate = 1e-6;
  // Optimiser step n < warmup_steps runs at (n + 1) / warmup_steps of the rate; with a warmup_start s > 0 at
  // s + (1 - s) n / warmup_steps.
  int64_t warmup_steps = 0;
  Decay decay = Decay::kConstant;
  int64_t total_steps = 0;    // where the decay ends, in optimiser steps; needed unless constant
  double final_fraction = 0;  // of the rate, at and after total_steps
  double warmup_start = 0;
  int64_t hold_steps = 0;         // between warm-up and decay
  double final_weight_decay = 0;  // 0: the weight decay stays
};

// p = (step - warmup_steps - hold_steps) / (total_steps - warmup_steps - hold_steps), within [0, 1].
double DecayProgress(const Schedule& schedule, int64_t step);
// weight_decay x (final / weight_decay)^p.
double WeightDecay(const Schedule& schedule, double weight_decay, int64_t step);

// `step` counts from 0.
double LearningRate(const Schedule& schedule, int64_t step);
Status CheckSchedule(const Schedule& schedule);

}  // namespace volery::training
