#pragma once
// Writes a new plugin's project: `volery plugins new reward NAME`.

#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::plugin {

// Copies the SDK's template into `folder` (made; must not hold files yet) with `name` in the place of its
// name, and returns the files written. kind: "reward". name: lower-case letters, digits, underscores, a
// letter first.
StatusOr<std::vector<std::string>> NewPlugin(const std::string& kind, const std::string& name,
                                             const std::string& folder);

}  // namespace volery::plugin
