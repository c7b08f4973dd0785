#pragma once
// From a recipe to the options of the parts: engine, trainer, algorithm, loop. Pure; the recipe has been checked.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include "core/base/status.h"
#include "core/config/recipe.h"
#include "core/inference/engine.h"
#include "core/orchestration/loop.h"
#include "core/training/trainer.h"

namespace volery::app {

StatusOr<c10::ScalarType> ParseDtype(const std::string& word);   // float32 | bfloat16 | float64
StatusOr<c10::Device> ParseDevice(const std::string& word);      // cpu | cuda | cuda:N; refuses a device that isn't there

// What ends a sample.
struct SampleStops {
  std::vector<int32_t> ids;
  std::shared_ptr<const text::StopRules> rules;  // null: ids alone
};
data::SamplingParams TrainingSampling(const config::Recipe& recipe, const SampleStops& stops);
StatusOr<inference::EngineOptions> MakeEngineOptions(const config::Recipe& recipe, int64_t vocabulary);
StatusOr<training::AlgorithmOptions> MakeAlgorithm(const config::Recipe& recipe);
StatusOr<training::TrainerOptions> MakeTrainerOptions(const config::Recipe& recipe);
orchestration::LoopOptions MakeLoopOptions(const config::Recipe& recipe, const SampleStops& stops);

// Cores of the sampler's and the trainer's thread; 0 in the recipe: all of this machine's.
int SamplerThreads(const config::Recipe& recipe);
int TrainerThreads(const config::Recipe& recipe);

}  // namespace volery::app
