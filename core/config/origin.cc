#include "core/config/origin.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "core/base/status.h"

namespace volery::config {

std::string Origin::Text() const {
  switch (kind) {
    case Kind::kDefault:
      return "default";
    case Kind::kPreset:
      return "preset " + name;
    case Kind::kCommandLine:
      return "command line";
    case Kind::kFile:
      break;
  }
  return line > 0 ? Cat(name, ":", line) : name;
}

std::string Origin::Place() const {
  switch (kind) {
    case Kind::kDefault:
    case Kind::kPreset:
      return "recipe";
    case Kind::kCommandLine:
      return "command line";
    case Kind::kFile:
      break;
  }
  return line > 0 ? Cat(name, ":", line, ":", column) : name;
}

std::string Problem::Text() const {
  return Cat(origin.Place(), ": ", section.empty() ? "" : Cat("[", section, "] "), message);
}

std::string ProblemsText(std::vector<Problem> problems) {
  auto key = [](const Problem& problem) {
    const int order = problem.origin.order < 0 ? std::numeric_limits<int>::max() : problem.origin.order;
    return std::make_tuple(order, problem.origin.line, problem.origin.column);
  };
  std::stable_sort(problems.begin(), problems.end(),
                   [&](const Problem& a, const Problem& b) { return key(a) < key(b); });
  std::string text;
  for (const Problem& problem : problems) text += Cat(text.empty() ? "" : "\n", problem.Text());
  return text;
}

}  // namespace volery::config
