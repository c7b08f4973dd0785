#pragma once
// Prompts in, completions out, in the order of the prompts: what `volery generate` and evaluations need of an
// engine. Does not load models and does not touch text.
//
//   auto done = Generate(*engine, requests, {.progress = [](const GenerateProgress& p) { return !interrupted;
//   }});

#include <functional>
#include <vector>

#include "core/base/status.h"
#include "core/data/engine.h"

namespace volery::inference {

struct GenerateProgress {
  int64_t finished = 0, total = 0;  // sequences
  data::EngineStats stats;
};

struct GenerateOptions {
  // Called after every step; false cancels what is still running (its rollouts have stop reason cancelled).
  std::function<bool(const GenerateProgress&)> progress = nullptr;
  // Called with each rollout as it finishes, before the next step.
  std::function<Status(const data::Rollout&, size_t request)> finished = nullptr;
};

// rollouts[r][k] is sample k of requests[r]. The engine must be idle and have weights; the calling thread
// owns it. After an error nothing of these requests is left in the engine's queue.
StatusOr<std::vector<std::vector<data::Rollout>>> Generate(data::Engine& engine,
                                                           const std::vector<data::SampleRequest>& requests,
                                                           const GenerateOptions& options = {});

}  // namespace volery::inference
