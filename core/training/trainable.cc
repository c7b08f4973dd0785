#include "core/training/trainable.h"

#include <fnmatch.h>

#include <algorithm>

namespace volery::training {
namespace {

constexpr size_t kShownNames = 12;

bool Matches(const std::string& pattern, const std::string& name) {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

std::string SomeNames(const std::vector<native::TensorSpec>& specs) {
  std::string names;
  for (size_t i = 0; i < std::min(specs.size(), kShownNames); ++i)
    names += Cat(i == 0 ? "" : ", ", specs[i].name);
  return names + (specs.size() > kShownNames ? Cat(" ... ", specs.back().name) : "");
}

Status MatchesNone(const char* key, const char* which, const std::vector<std::string>& patterns,
                   const std::vector<native::TensorSpec>& specs) {
  std::string quoted;
  for (const std::string& pattern : patterns) quoted += Cat(quoted.empty() ? "" : ", ", '"', pattern, '"');
  return InvalidError(key, ": no tensor ", which, " matches ", quoted, "; their names: ", SomeNames(specs));
}

}  // namespace

StatusOr<std::set<std::string>> FrozenTensors(const std::vector<native::TensorSpec>& specs,
                                              const std::vector<std::string>& trainable) {
  std::set<std::string> frozen;
  if (trainable.empty()) return frozen;
  for (const native::TensorSpec& spec : specs) frozen.insert(spec.name);
  std::vector<std::string> unmatched;
  for (const std::string& pattern : trainable) {
    bool any = false;
    for (const native::TensorSpec& spec : specs) {
      if (!Matches(pattern, spec.name)) continue;
      any = true;
      frozen.erase(spec.name);
    }
    if (!any) unmatched.push_back(pattern);
  }
  if (!unmatched.empty()) return MatchesNone("pretrain.trainable", "of the model", unmatched, specs);
  return frozen;
}

StatusOr<std::map<std::string, double>> LearningRateScales(const std::vector<native::TensorSpec>& specs,
                                                           const std::set<std::string>& frozen,
                                                           const nlohmann::json& scales) {
  std::vector<native::TensorSpec> training;
  for (const native::TensorSpec& spec : specs)
    if (!frozen.contains(spec.name)) training.push_back(spec);
  std::map<std::string, double> out;
  std::set<std::string> unmatched;
  for (const auto& [pattern, factor] : scales.items()) {
    if (!factor.is_number() || factor.get<double>() < 0)
      return InvalidError("pretrain.lr_scale: \"", pattern, "\" = ", factor.dump(),
                          "; a factor is a number of at least 0");
    unmatched.insert(pattern);
  }
  for (const native::TensorSpec& spec : training) {
    std::string longest, rival;  // patterns of the same length
    for (const auto& [pattern, factor] : scales.items()) {
      if (!Matches(pattern, spec.name)) continue;
      unmatched.erase(pattern);
      if (pattern.size() == longest.size()) rival = pattern;
      if (pattern.size() > longest.size()) longest = pattern;
    }
    if (!rival.empty() && rival.size() == longest.size())
      return InvalidError("pretrain.lr_scale: \"", longest, "\" and \"", rival, "\" both match ", spec.name,
                          "; make one of them longer");
    if (!longest.empty()) out[spec.name] = scales.at(longest).get<double>();
  }
  if (!unmatched.empty())
    return MatchesNone("pretrain.lr_scale", "that trains", {unmatched.begin(), unmatched.end()}, training);
  return out;
}

}  // namespace volery::training
