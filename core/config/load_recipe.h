#pragma once
// Entry point of config/: recipe files and key=value words in, a checked Recipe out, with the origin of every
// value. Order: defaults < preset < files left to right < key=value. All problems come in one error, one a
// line, as
//   recipe.toml:14:3: [trainer.optim] unknown key "leraning_rate"; did you mean "learning_rate"?
//
//   VOLERY_ASSIGN_OR_RETURN(config::LoadedRecipe loaded, config::LoadRecipe({"configs/quickstart.toml"},
//   {"steps=5"})); loaded.recipe().rollout.group_size

#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/config/decoder.h"
#include "core/config/origin.h"
#include "core/config/recipe.h"

namespace volery::config {

// Immutable; thread-safe.
class LoadedRecipe {
 public:
  explicit LoadedRecipe(DecodedRecipe decoded) : decoded_(std::move(decoded)) {}

  const Recipe& recipe() const { return decoded_.recipe; }

  // Where a value stands, by dotted path: "reward.0.options.words". Of one that no source sets, where the
  // table around it begins; kDefault where that isn't written either.
  Origin OriginOf(const std::string& dotted_path) const;

  // A line in the form of LoadRecipe's errors, for checks that only a plugin or a file can make.
  // `dotted_path` is the key that is wrong; the message begins with what is wrong with it ("unknown option
  // \"wrods\"").
  std::string ProblemAt(const std::string& dotted_path, const std::string& message) const;

  // Every key, so that it doesn't depend on later defaults; reads back to the same recipe from any folder
  // (relative only: `runs`).
  std::string ResolvedToml() const;

  // plan's listing: a line for each value, "rollout.group_size = 8   # configs/quickstart.toml:22".
  std::string Listing() const;

 private:
  DecodedRecipe decoded_;
};

// Errors (InvalidArgument): all problems of the files and words, and files that the recipe names and that
// don't exist.
StatusOr<LoadedRecipe> LoadRecipe(const std::vector<std::string>& files,
                                  const std::vector<std::string>& overrides);

// The same from texts, without looking at any file. `folder`: what relative paths in overrides are relative
// to.
StatusOr<LoadedRecipe> ParseRecipe(const std::vector<RecipeText>& files,
                                   const std::vector<std::string>& overrides, const std::string& folder);

}  // namespace volery::config
