#include "core/config/reference_page.h"

#include "core/base/status.h"
#include "core/config/presets.h"
#include "core/config/schema.h"
#include "core/config/toml_writer.h"

namespace volery::config {
namespace {

Recipe Defaults() {
  Recipe recipe;
  recipe.reward.emplace_back();
  recipe.data.emplace_back();
  return recipe;
}

// A vertical bar would end the table's cell.
std::string Cell(const std::string& text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string Heading(const std::string& section) {
  if (section.empty()) return "## The run\n";
  if (section == "reward.*") return "## [[reward]], one or more\n";
  if (section == "data.*") return "## [[data]], one or more: of `volery pretrain`\n";
  if (section == "pretrain" || section == "validation")
    return Cat("## [", section, "]: of `volery pretrain`\n");
  return Cat("## [", section, "]", section == "warmup" ? ", optional\n" : "\n");
}

std::string PresetTable() {
  std::string text = "\nThe rows of `preset`:\n\n| key |", line = "\n|---|";
  for (const AlgorithmRecipe& preset : Presets()) {
    text += Cat(" ", preset.preset, " |");
    line += "---|";
  }
  text += line;
  for (const Key& key : Schema()) {
    if (key.section() != "algorithm" || key.name() == "preset") continue;
    text += Cat("\n| `", key.name(), "` |");
    for (const AlgorithmRecipe& preset : Presets()) {
      Recipe recipe;
      recipe.algorithm = preset;
      text += Cat(" ", TomlValue(key.field(recipe, 0)), " |");
    }
  }
  return text + "\n";
}

}  // namespace

std::string ReferencePage() {
  std::string text =
      "# Recipe keys\n\nOrder: defaults < recipe files left to right < `key=value`. Tables merge, lists "
      "replace.\n";
  Recipe defaults = Defaults();
  for (const std::string& section : Sections()) {
    std::string rows;
    for (const Key& key : Schema()) {
      if (key.section() != section) continue;
      rows += Cat("| `", key.name(), "` | ", Cell(Expected(key)), " | `",
                  Cell(TomlValue(key.field(defaults, 0))), "` | ", Cell(key.help), " |\n");
    }
    text +=
        Cat("\n", Heading(section), "\n| key | value | default | what it is |\n|---|---|---|---|\n", rows);
    if (section == "algorithm") text += PresetTable();
  }
  return text;
}

std::vector<std::string> OverridablePaths() {
  std::vector<std::string> paths;
  for (const Key& key : Schema()) paths.push_back(ElementPath(key.path, 0));
  return paths;
}

}  // namespace volery::config
