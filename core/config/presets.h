#pragma once
// The rows of [algorithm]'s presets (DESIGN section 8). Pure data.

#include <string_view>
#include <vector>

#include "core/config/recipe.h"

namespace volery::config {

const std::vector<AlgorithmRecipe>& Presets();
const AlgorithmRecipe* FindPreset(std::string_view name);  // nullptr: there is none of that name

}  // namespace volery::config
