#pragma once
// The model card (README.md) of a folder that a run writes: what the model is, how it came about, what was
// measured last, how to use it. Front matter as Hugging Face's hub reads it. Pure functions.

#include <optional>
#include <string>
#include <vector>

#include "core/policy/model_source.h"

namespace volery::policy {

struct CardMetric {
  std::string name;  // as in metrics.jsonl
  double value = 0;
  int64_t step = 0;
};

struct ModelCard {
  std::string name;         // of the run
  std::string training;     // "next-token training", "reinforcement learning (grpo)"
  std::optional<std::string> start;  // what it started from; none: from scratch
  std::string recipe_hash;  // SHA-256 of the resolved recipe, hex
  std::string program;      // "volery 0.1.0"
  native::ModelInfo model;
  bool chat = false;  // it has a chat template
};

// The card of a run's model; `start` is the last part of the folder's or file's name, so that no path of the
// machine is published.
ModelCard CardOf(const ModelSource& source);
std::string FormatModelCard(const ModelCard& card, int64_t step, const std::vector<CardMetric>& metrics);

}  // namespace volery::policy
