#include "core/plugin/plugin_info.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "core/base/edit_distance.h"

namespace volery::plugin {
namespace {

// The text of a default or of the command line as a value of the type; nothing when it is none.
std::optional<nlohmann::json> ParseValue(OptionType type, const std::string& text) {
  const char* const end = text.data() + text.size();
  if (type == OptionType::kText) return nlohmann::json(text);
  if (type == OptionType::kBool) {
    if (text != "true" && text != "false") return std::nullopt;
    return nlohmann::json(text == "true");
  }
  if (type == OptionType::kInteger) {
    int64_t value = 0;
    auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end) return std::nullopt;
    return nlohmann::json(value);
  }
  double value = 0;
  auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return nlohmann::json(value);
}

bool HasType(const nlohmann::json& value, OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return value.is_boolean();
    case OptionType::kInteger:
      return value.is_number_integer();
    case OptionType::kNumber:
      return value.is_number();
    case OptionType::kText:
      return value.is_string();
  }
  return false;
}

const OptionInfo* FindOption(const PluginInfo& plugin, const std::string& name) {
  for (const OptionInfo& option : plugin.options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string UnknownOption(const PluginInfo& plugin, const std::string& key) {
  std::vector<std::string> names;
  for (const OptionInfo& option : plugin.options) names.push_back(option.name);
  const std::string nearest = base::NearestWord(key, names);
  if (!nearest.empty()) return Cat("unknown option \"", key, "\"; did you mean \"", nearest, "\"?");
  if (names.empty()) return Cat("unknown option \"", key, "\"; this plugin takes none");
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return Cat("unknown option \"", key, "\"; this plugin takes: ", list);
}

}  // namespace

const char* OptionTypeName(OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return "bool";
    case OptionType::kInteger:
      return "integer";
    case OptionType::kNumber:
      return "number";
    case OptionType::kText:
      return "text";
  }
  return "unknown";
}

std::string PluginInfo::name() const {
  return std::filesystem::path(path).stem().string();
}

std::vector<OptionProblem> FindOptionProblems(const PluginInfo& plugin, const nlohmann::json& options) {
  std::vector<OptionProblem> problems;
  if (!options.is_null() && !options.is_object())
    return {{"", "options must be a table of names and values"}};
  for (const auto& [key, value] : options.items()) {
    const OptionInfo* option = FindOption(plugin, key);
    if (option == nullptr) {
      problems.push_back({key, UnknownOption(plugin, key)});
    } else if (!HasType(value, option->type)) {
      problems.push_back(
          {key,
           Cat("option \"", key, "\" must be ", OptionTypeName(option->type), ", not ", value.type_name(),
               " (", value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 60),
               ")")});
    }
  }
  for (const OptionInfo& option : plugin.options) {
    if (!option.default_value && !(options.is_object() && options.contains(option.name))) {
      problems.push_back({option.name, Cat("option \"", option.name, "\" (", OptionTypeName(option.type),
                                           ") must be given: ", option.help)});
    }
  }
  return problems;
}

StatusOr<nlohmann::ordered_json> ResolveOptions(const PluginInfo& plugin, const nlohmann::json& options) {
  const std::vector<OptionProblem> problems = FindOptionProblems(plugin, options);
  if (!problems.empty()) {
    std::string all;
    for (const OptionProblem& problem : problems) all += (all.empty() ? "" : "\n  ") + problem.message;
    return InvalidError("plugin ", plugin.path, ": ", all);
  }
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const OptionInfo& option : plugin.options) {
    if (options.is_object() && options.contains(option.name)) {
      out[option.name] = options[option.name];
    } else {
      out[option.name] = *ParseValue(option.type, *option.default_value);
    }
  }
  return out;
}

StatusOr<nlohmann::json> OptionsFromText(const PluginInfo& plugin,
                                         const std::vector<std::string>& assignments) {
  nlohmann::json out = nlohmann::json::object();
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos)
      return InvalidError("option \"", assignment, "\" has no '='; write name=value");
    const std::string key = assignment.substr(0, equals), text = assignment.substr(equals + 1);
    const OptionInfo* option = FindOption(plugin, key);
    if (option == nullptr) return InvalidError("plugin ", plugin.path, ": ", UnknownOption(plugin, key));
    std::optional<nlohmann::json> value = ParseValue(option->type, text);
    if (!value)
      return InvalidError("plugin ", plugin.path, ": option \"", key, "\" must be ",
                          OptionTypeName(option->type), ", not \"", text, "\"");
    out[key] = *value;
  }
  return out;
}

}  // namespace volery::plugin
