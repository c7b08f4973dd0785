#pragma once
// Where a value of a recipe comes from, and a problem with it. Plain data.

#include <string>
#include <vector>

namespace volery::config {

struct Origin {
  enum class Kind { kDefault, kPreset, kFile, kCommandLine };
  Kind kind = Kind::kDefault;
  std::string name;          // of the file or the preset
  int line = 0, column = 0;  // in the file; 0: unknown
  int order = -1;            // of the source: files left to right, then the command line; -1: no source

  // For plan: "default", "preset grpo", "configs/quickstart.toml:12", "command line".
  std::string Text() const;
  // In front of a message: "configs/quickstart.toml:12:3", "command line", "recipe" for what stands nowhere.
  std::string Place() const;
};

struct Problem {
  Origin origin;
  std::string section;  // "trainer.optim", "" at the top
  std::string message;

  // recipe.toml:14:3: [trainer.optim] unknown key "leraning_rate"; did you mean "learning_rate"?
  std::string Text() const;
};

// In the order of sources, lines and columns; what stands nowhere comes last. One a line.
std::string ProblemsText(std::vector<Problem> problems);

}  // namespace volery::config
