#pragma once
// Which tensors train: patterns of names to the set of tensors that stay frozen. Pure.

#include <set>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "volery/native/model.h"

namespace volery::training {

// A tensor trains if any pattern (shell wildcards: * ? [a-z]) matches its whole name; without patterns all
// do. InvalidArgument: a pattern that matches none, with names that there are.
StatusOr<std::set<std::string>> FrozenTensors(const std::vector<native::TensorSpec>& specs,
                                              const std::vector<std::string>& trainable);

}  // namespace volery::training
