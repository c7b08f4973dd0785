#pragma once
// Checkpoints (.pth) of the reference's trainer: what the model is, from the tensors' names and shapes. Names
// and layouts are the model folder's own.

#include <optional>
#include <vector>

#include "volery/native/model.h"

namespace volery::goldfinch {

// None where the tensors are of another program. What they can't say: positions (RoPE 10000 for GPTAlpha and
// the Llama-like model, as the reference's configs, else none), (1 - w) and the second value (both on), the
// context. Throws std::invalid_argument for a checkpoint with tensors missing, surplus or of another shape.
std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors);

}  // namespace volery::goldfinch
