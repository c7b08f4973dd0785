#pragma once
// Recipes and their values as TOML text that reads back to the same. Pure functions.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/recipe.h"
#include "core/config/schema.h"

namespace volery::config {

std::string TomlString(std::string_view text);      // quoted, escaped
std::string TomlNumber(double value);               // finite; shortest text with a '.' or an exponent
std::string TomlJson(const nlohmann::json& value);  // objects as inline tables; no nulls
std::string TomlValue(const FieldRef& field);

// Every value of a recipe in the order in which it is written, of the sections that apply to it.
struct RecipeValue {
  const Key* key;
  std::string path;     // with the element's number in the place of "*"
  std::string section;  // of that path
  std::string text;     // as TOML
};
std::vector<RecipeValue> RecipeValues(const Recipe& recipe);

// The whole recipe with every key: what the run folder's recipe.toml holds.
std::string RecipeToToml(const Recipe& recipe);

}  // namespace volery::config
