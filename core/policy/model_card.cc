#include "core/policy/model_card.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace volery::policy {
namespace {

// A YAML scalar; JSON's strings are such.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

ModelCard CardOf(const ModelSource& source) {
  ModelCard card;
  card.model = source.info;
  card.chat = source.chat.has_value();
  if (source.where != kFromScratch) {
    const std::filesystem::path path(source.where);
    card.start = (path.has_filename() ? path : path.parent_path()).filename().string();
  }
  return card;
}

std::string FormatModelCard(const ModelCard& card, int64_t step, const std::vector<CardMetric>& metrics) {
  const native::ModelInfo& m = card.model;
  std::string text = Cat("---\npipeline_tag: text-generation\ntags:\n- volery\n- ", Quoted(m.family), "\n---\n# ", card.name,
                         "\n\n", m.family, ", ", m.layers, " layers of width ", m.width, ", ", m.parameters,
                         " parameters, vocabulary ", m.vocabulary, ", context ", m.context, ".\n\n", "- Training: ",
                         card.training, ", ", step, " steps\n- Started from: ",
                         card.start.value_or("nothing (initialised as its paper's code does)"),
                         "\n- Made by: ", card.program, "\n- Recipe (resolved), SHA-256: ", card.recipe_hash, "\n");
  if (!metrics.empty()) text += "\n## Measured last\n\n| metric | value | step |\n|---|---|---|\n";
  for (const CardMetric& metric : metrics)
    text += Cat("| ", metric.name, " | ", metric.value, " | ", metric.step, " |\n");
  return text + Cat("\n## Use\n\n    volery generate --model . ", card.chat ? "--chat " : "", "--prompt \"...\"\n");
}

}  // namespace volery::policy
