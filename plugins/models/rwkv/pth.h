#pragma once
// The .pth files of the original training code: recognised by their tensors, with the version that they are.

#include <optional>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::rwkv {

// None: not such a file. Throws std::invalid_argument for one that can't be read: versions other than 5.2 and
// 6, tensors that are missing, surplus or of another shape, all named.
std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors);

// All tensors of such a file for this model.
std::vector<native::ImportedTensor> PthTensors(const std::string& config_json);

}  // namespace volery::rwkv
