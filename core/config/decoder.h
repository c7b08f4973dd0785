#pragma once
// From TOML text to a Recipe: lays one source after the other (files, then key=value words) over the recipe,
// checks every key, type and range against the schema, and collects origins and problems. Tables merge, lists
// replace. Not thread-safe; one decoder makes one recipe. Cross-checks between keys: checks.h.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/config/origin.h"
#include "core/config/recipe.h"

namespace volery::config {

struct RecipeText {
  std::string name;    // as the user wrote it, for messages
  std::string folder;  // what its relative paths are relative to
  std::string text;
  std::string unreadable = "";  // why there is no text, if so
};

struct DecodedRecipe {
  Recipe recipe;
  std::map<std::string, Origin> origins;  // by dotted path, of every value, table and list that a source sets
  std::vector<Problem> problems;
  std::set<std::string> refused;  // paths whose value was refused, so that a default stands there
  bool complete = true;           // false: a whole source was unreadable or no TOML
};

// `folder`: what the overrides' relative paths are relative to.
DecodedRecipe DecodeRecipe(const std::vector<RecipeText>& files, const std::vector<std::string>& overrides,
                           const std::string& folder);

}  // namespace volery::config
