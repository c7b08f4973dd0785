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

}  // namespace

StatusOr<std::set<std::string>> FrozenTensors(const std::vector<native::TensorSpec>& specs,
                                              const std::vector<std::string>& trainable) {
  std::set<std::string> frozen;
  if (trainable.empty()) return frozen;
  for (const native::TensorSpec& spec : specs) frozen.insert(spec.name);
  std::string without_match;
  for (const std::string& pattern : trainable) {
    bool any = false;
    for (const native::TensorSpec& spec : specs) {
      if (!Matches(pattern, spec.name)) continue;
      any = true;
      frozen.erase(spec.name);
    }
    if (!any) without_match += Cat(without_match.empty() ? "" : ", ", '"', pattern, '"');
  }
  if (!without_match.empty()) {
    return InvalidError("pretrain.trainable: no tensor of the model matches ", without_match,
                        "; their names: ", SomeNames(specs));
  }
  return frozen;
}

}  // namespace volery::training
