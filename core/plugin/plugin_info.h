#pragma once
// What a plugin says about itself, as plain data: identity, flags and declared options; and the check of a
// recipe's options against the declarations.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::plugin {

enum class OptionType : uint32_t {
  kBool = 1,
  kInteger = 2,
  kNumber = 3,
  kText = 4
};                                            // values of volery_option_type
const char* OptionTypeName(OptionType type);  // "bool" | "integer" | "number" | "text"

struct OptionInfo {
  std::string name;
  OptionType type = OptionType::kText;
  std::optional<std::string> default_value;  // nothing: must be given
  std::string help;
};

struct PluginInfo {
  std::string path;  // absolute
  std::string kind;  // "reward" | "model"
  std::string id;    // "vendor.name/revision"
  std::string description;
  int abi_major = 0, abi_minor = 0;
  bool may_hang = false, wants_group = false;  // of rewards
  std::string build_tag;                       // of models
  std::vector<OptionInfo> options;

  std::string name() const;  // the file's name without folder and ".so"
};

struct OptionProblem {
  std::string key;      // as given, or the missing one's
  std::string message;  // without the plugin's name
};

// All problems of `options` (a JSON object; null counts as empty): unknown key (with the nearest declared
// one), wrong type, missing. Empty: fine. Pure.
std::vector<OptionProblem> FindOptionProblems(const PluginInfo& plugin, const nlohmann::json& options);

// Every declared option with its given or default value, in declared order. Errors: the problems above,
// joined, naming the plugin's file.
StatusOr<nlohmann::ordered_json> ResolveOptions(const PluginInfo& plugin, const nlohmann::json& options);

// "key=value" words of a command line, each value read as its option's type: {"words": 3}.
StatusOr<nlohmann::json> OptionsFromText(const PluginInfo& plugin,
                                         const std::vector<std::string>& assignments);

}  // namespace volery::plugin
