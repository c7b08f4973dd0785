#pragma once
// Which tensors train, and at which rate: patterns of names to sets of tensors. Pure.

#include <map>
#include <nlohmann/json.hpp>
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

// {pattern: factor of the learning rate}, in place of the model's own (TensorSpec::lr_scale). Where several
// patterns match a tensor, the longest one counts. InvalidArgument: a factor that is no number or negative, a
// pattern that matches none that trains, two of one length that match the same tensor.
StatusOr<std::map<std::string, double>> LearningRateScales(const std::vector<native::TensorSpec>& specs,
                                                           const std::set<std::string>& frozen,
                                                           const nlohmann::json& scales);

}  // namespace volery::training
