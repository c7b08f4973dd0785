#pragma once
// What no single key can tell: checks between the keys of a decoded recipe. Everything that is wrong, at
// once, each with the place of the key that a person would change.

#include <vector>

#include "core/config/decoder.h"

namespace volery::config {

// The place of `path`, or of the nearest table or list around it that a source wrote; kDefault where there is
// none.
Origin OriginOf(const DecodedRecipe& decoded, const std::string& path);

std::vector<Problem> CrossCheck(const DecodedRecipe& decoded);
// Files and folders that the recipe names and that don't exist.
std::vector<Problem> CheckFiles(const DecodedRecipe& decoded);

// How a file of text is read: `format`, or where that is "" by the file's name.
std::string TextFormatOf(const std::string& file, const std::string& format);

}  // namespace volery::config
