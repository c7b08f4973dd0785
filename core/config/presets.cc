#include "core/config/presets.h"

namespace volery::config {
namespace {

AlgorithmRecipe Intellect2(const char* preset, double kl, double entropy) {
  AlgorithmRecipe row;
  row.preset = preset;
  row.advantage_epsilon = 1e-6;
  row.denominator = "proximal";
  row.kl = kl;
  row.entropy = entropy;
  row.optimiser_steps = 8;
  return row;
}

AlgorithmRecipe DrGrpo() {
  AlgorithmRecipe row;
  row.preset = "dr_grpo";
  row.advantage = "mean";
  row.advantage_epsilon = 0;
  row.normaliser = "constant";
  row.delta = 0;
  return row;
}

}  // namespace

const std::vector<AlgorithmRecipe>& Presets() {
  static const std::vector<AlgorithmRecipe> rows = {AlgorithmRecipe(), DrGrpo(),
                                                    Intellect2("intellect2-code", 0, 1e-3),
                                                    Intellect2("intellect2-paper", 1e-3, 1e-4)};
  return rows;
}

const AlgorithmRecipe* FindPreset(std::string_view name) {
  for (const AlgorithmRecipe& row : Presets()) {
    if (row.preset == name) return &row;
  }
  return nullptr;
}

}  // namespace volery::config
