#include "core/config/decoder.h"

#include <optional>
#include <string_view>
#include <utility>

#include "core/base/status.h"
#include "core/config/layer.h"
#include "core/config/presets.h"
#include "core/config/schema.h"
#include "core/config/toml.h"

namespace volery::config {
namespace {

struct ParsedSource {
  Source source;
  toml::table table;
  Path path;  // an override's; empty for a file
};

std::optional<toml::table> ParseToml(const std::string& text, const Source& source,
                                     std::vector<Problem>& problems) {
  try {
    return toml::parse(std::string_view(text));
  } catch (const toml::parse_error& error) {
    problems.push_back({source.At(error.source()), "", Cat("not TOML: ", error.description())});
    return std::nullopt;
  }
}

// A value that isn't TOML is a string.
toml::table ParseOverrideValue(const std::string& text) {
  try {
    toml::table table = toml::parse(std::string_view("v = " + text));
    if (table.size() == 1 && table.contains("v")) return table;
  } catch (const toml::parse_error&) {
  }
  return toml::table{{"v", text}};
}

bool IsUtf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

Path SplitPath(const std::string& text) {
  Path path(1);
  for (char c : text) {
    if (c == '.') {
      path.emplace_back();
    } else {
      path.back() += c;
    }
  }
  return path;
}

std::optional<ParsedSource> ParseOverride(const std::string& word, Source source,
                                          std::vector<Problem>& problems) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos || equals == 0) {
    problems.push_back({source.origin, "",
                        Cat("\"", word, "\" is no override; write key=value, such as rollout.group_size=4")});
    return std::nullopt;
  }
  if (!IsUtf8(word)) {
    problems.push_back(
        {source.origin, "", Cat("the override of \"", word.substr(0, equals), "\" is not UTF-8 text")});
    return std::nullopt;
  }
  source.raw = word.substr(equals + 1);
  toml::table value = ParseOverrideValue(source.raw);
  return ParsedSource{std::move(source), std::move(value), SplitPath(word.substr(0, equals))};
}

// The preset comes from the last source that names one, and lies under all of them.
void ApplyPreset(const std::vector<ParsedSource>& sources, DecodedRecipe& out) {
  std::string name = out.recipe.algorithm.preset;
  for (const ParsedSource& parsed : sources) {
    toml::node_view<const toml::node> view;
    if (parsed.path.empty()) view = parsed.table["algorithm"]["preset"];
    if (parsed.path == Path{"algorithm", "preset"}) view = parsed.table["v"];
    if (parsed.path == Path{"algorithm"}) view = parsed.table["v"]["preset"];
    if (const auto word = view.value<std::string>(); word && FindPreset(*word)) name = *word;
  }
  out.recipe.algorithm = *FindPreset(name);
  for (const Key& key : Schema()) {
    if (key.section() == "algorithm" && key.name() != "preset")
      out.origins[key.path] = {Origin::Kind::kPreset, name, 0, 0, -1};
  }
}

}  // namespace

DecodedRecipe DecodeRecipe(const std::vector<RecipeText>& files, const std::vector<std::string>& overrides,
                           const std::string& folder) {
  DecodedRecipe out;
  std::vector<ParsedSource> sources;
  int order = 0;
  for (const RecipeText& file : files) {
    Source source{{Origin::Kind::kFile, file.name, 0, 0, order++}, file.folder, ""};
    std::optional<toml::table> table;
    if (file.unreadable.empty()) {
      table = ParseToml(file.text, source, out.problems);
    } else {
      out.problems.push_back({source.origin, "", file.unreadable});
    }
    if (table) sources.push_back({std::move(source), std::move(*table), {}});
    out.complete = out.complete && table.has_value();
  }
  for (const std::string& word : overrides) {
    Source source{{Origin::Kind::kCommandLine, "", 0, 0, order++}, folder, ""};
    if (auto parsed = ParseOverride(word, std::move(source), out.problems))
      sources.push_back(std::move(*parsed));
  }
  ApplyPreset(sources, out);
  for (const ParsedSource& parsed : sources) {
    if (parsed.path.empty()) {
      LayTable(out, parsed.source, parsed.table);
    } else {
      LayEntry(out, parsed.source, parsed.path, *parsed.table.get("v"));
    }
  }
  return out;
}

}  // namespace volery::config
