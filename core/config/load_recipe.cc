#include "core/config/load_recipe.h"

#include <algorithm>
#include <filesystem>

#include "core/base/files.h"
#include "core/config/checks.h"
#include "core/config/toml_writer.h"

namespace volery::config {
namespace {

namespace fs = std::filesystem;

std::string WorkingFolder() {
  std::error_code error;
  const fs::path folder = fs::current_path(error);
  return error ? "/" : folder.string();
}

void Append(std::vector<Problem>& to, const std::vector<Problem>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// Of a table of options there can be several: each value of it may come from elsewhere.
std::string OriginsText(const DecodedRecipe& decoded, const std::string& path) {
  std::vector<std::string> origins;
  for (const auto& [at, origin] : decoded.origins) {
    const bool here = at == path || at.starts_with(path + ".");
    if (here && std::find(origins.begin(), origins.end(), origin.Text()) == origins.end())
      origins.push_back(origin.Text());
  }
  std::string text;
  for (const std::string& origin : origins) text += (text.empty() ? "" : ", ") + origin;
  return text.empty() ? Origin().Text() : text;
}

StatusOr<LoadedRecipe> Finish(DecodedRecipe decoded) {
  if (!decoded.problems.empty()) return absl::InvalidArgumentError(ProblemsText(decoded.problems));
  return LoadedRecipe(std::move(decoded));
}

DecodedRecipe DecodeAndCheck(const std::vector<RecipeText>& files, const std::vector<std::string>& overrides,
                             const std::string& folder) {
  DecodedRecipe decoded = DecodeRecipe(files, overrides, folder);
  if (files.size() > 0 && !decoded.origins.contains("name"))
    decoded.recipe.name = fs::path(files[0].name).stem().string();
  // Without one of its sources a recipe would only be accused of what that source says.
  if (decoded.complete) Append(decoded.problems, CrossCheck(decoded));
  return decoded;
}

}  // namespace

Origin LoadedRecipe::OriginOf(const std::string& dotted_path) const {
  return config::OriginOf(decoded_, dotted_path);
}

std::string LoadedRecipe::ProblemAt(const std::string& dotted_path, const std::string& message) const {
  const size_t dot = dotted_path.rfind('.');
  return Problem{OriginOf(dotted_path), dot == std::string::npos ? "" : dotted_path.substr(0, dot), message}
      .Text();
}

std::string LoadedRecipe::ResolvedToml() const {
  return RecipeToToml(recipe());
}

std::string LoadedRecipe::Listing() const {
  std::vector<std::pair<std::string, std::string>> lines;
  size_t width = 0;
  for (const RecipeValue& value : RecipeValues(recipe())) {
    lines.emplace_back(Cat(value.path, " = ", value.text), OriginsText(decoded_, value.path));
    if (lines.back().first.size() <= 60) width = std::max(width, lines.back().first.size());
  }
  std::string text;
  for (const auto& [value, origin] : lines) {
    text +=
        Cat(value, std::string(value.size() < width ? width - value.size() : 0, ' '), "  # ", origin, "\n");
  }
  return text;
}

StatusOr<LoadedRecipe> ParseRecipe(const std::vector<RecipeText>& files,
                                   const std::vector<std::string>& overrides, const std::string& folder) {
  return Finish(DecodeAndCheck(files, overrides, folder));
}

StatusOr<LoadedRecipe> LoadRecipe(const std::vector<std::string>& files,
                                  const std::vector<std::string>& overrides) {
  const std::string here = WorkingFolder();
  std::vector<RecipeText> texts;
  for (const std::string& file : files) {
    RecipeText text{file, fs::path(base::ResolvePath(here, file)).parent_path().string(), ""};
    if (StatusOr<std::string> bytes = base::ReadFile(file); bytes.ok()) {
      text.text = *std::move(bytes);
    } else {
      text.unreadable = "can't read the recipe: " + Message(bytes.status());
    }
    texts.push_back(std::move(text));
  }
  DecodedRecipe decoded = DecodeAndCheck(texts, overrides, here);
  Append(decoded.problems, CheckFiles(decoded));
  return Finish(std::move(decoded));
}

}  // namespace volery::config
