#pragma once
// The build tag of this program, and the check that a native plugin was built from the same SDK, LibTorch and
// compiler.

#include <string>

#include "core/base/status.h"

namespace volery::plugin {

const std::string& HostBuildTag();

// OK when equal. Else FailedPrecondition with both tags and the parts that differ.
Status CheckBuildTag(const std::string& plugin_tag);

}  // namespace volery::plugin
