#pragma once
// How a GGUF file of architecture llama, qwen2 or qwen3 becomes a config.json and Hugging Face tensor names.

#include <map>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::qwen {

// Throws std::invalid_argument, naming the key, for what can't be honoured.
native::ImportPlan ImportGguf(const std::map<std::string, native::MetaValue>& metadata,
                              const std::vector<std::string>& tensors);

}  // namespace volery::qwen
