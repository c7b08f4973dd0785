// Recipe files and overrides from outside bytes: lines that begin with '!' are overrides, the rest is the
// file. Whatever is accepted must read back from its resolved form to the same recipe.
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/config/load_recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::config;
  std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
  RecipeText file{"fuzz.toml", "/recipes", ""};
  std::vector<std::string> overrides;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('!')) {
      overrides.push_back(line.substr(1));
    } else {
      file.text += line + "\n";
    }
  }
  const volery::StatusOr<LoadedRecipe> loaded = ParseRecipe({file}, overrides, "/here");
  if (!loaded.ok()) {
    VOLERY_CHECK(!loaded.status().message().empty());
    return 0;
  }
  const std::string resolved = loaded->ResolvedToml();
  const volery::StatusOr<LoadedRecipe> again =
      ParseRecipe({{"recipe.toml", "/elsewhere", resolved}}, {}, "/elsewhere");
  VOLERY_CHECK(again.ok());
  VOLERY_CHECK(again->recipe() == loaded->recipe());
  VOLERY_CHECK(again->ResolvedToml() == resolved);
  VOLERY_CHECK(!loaded->Listing().empty());
  return 0;
}
