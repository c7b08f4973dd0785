#pragma once
// What a model is, from the names and shapes of its tensors: for checkpoints (.pth) of the reference's
// trainer, whose names and layouts are the model folder's own, and for folders whose config.json doesn't say
// all.

#include <optional>
#include <vector>

#include "volery/native/model.h"

namespace volery::goldfinch {

// None where the tensors are of another program. What they can't say: positions (RoPE 10000 for GPTAlpha and
// the Llama-like model, as the reference's configs, else none), (1 - w) and the second value (both on), the
// context. Throws std::invalid_argument for a checkpoint with tensors missing, surplus or of another shape.
std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors);
// All tensors of such a file for this model.
std::vector<native::ImportedTensor> PthTensors(const std::string& config_json);
// `config_json` with the widths, ranks and kinds of layers that it leaves to the shapes of the folder's
// tensors; as it is where it leaves none. Throws std::invalid_argument where it contradicts them, naming the
// key.
std::string CompleteConfig(const std::string& config_json, const std::vector<native::FileTensor>& tensors);

}  // namespace volery::goldfinch
