#pragma once
// One source (a recipe file's table or one override) laid over a recipe: every value goes to its member, wrong ones
// become problems, and origins are noted. Inside config/ only, since it shows TOML++.

#include <string>
#include <vector>

#include "core/config/decoder.h"
#include "core/config/toml.h"

namespace volery::config {

using Path = std::vector<std::string>;  // the parts of a dotted path

struct Source {
  Origin origin;  // without line and column
  std::string folder;
  std::string raw;  // an override's value as typed

  Origin At(const toml::source_region& region) const {
    Origin at = origin;
    if (origin.kind == Origin::Kind::kFile) {
      at.line = static_cast<int>(region.begin.line);
      at.column = static_cast<int>(region.begin.column);
    }
    return at;
  }
};

// A file: everything in `table`.
void LayTable(DecodedRecipe& out, const Source& source, const toml::table& table);
// An override: `node` is put at `path`, a key, a table, a list or an option.
void LayEntry(DecodedRecipe& out, const Source& source, const Path& path, const toml::node& node);

}  // namespace volery::config
