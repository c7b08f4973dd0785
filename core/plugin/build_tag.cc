#include "core/plugin/build_tag.h"

#include <sstream>

#include "volery_host_build_tag.h"

namespace volery::plugin {
namespace {

// The parts of `ours` that `theirs` lacks, by name: "torch, compiler".
std::string Differences(const std::string& ours, const std::string& theirs) {
  const std::string padded = " " + theirs + " ";
  std::istringstream parts(ours);
  std::string out;
  for (std::string part; parts >> part;) {
    if (padded.find(" " + part + " ") != std::string::npos) continue;
    out += (out.empty() ? "" : ", ") + part.substr(0, part.find('='));
  }
  return out.empty() ? "order or extra parts" : out;
}

}  // namespace

const std::string& HostBuildTag() {
  static const std::string* const tag = new std::string(VOLERY_HOST_BUILD_TAG);
  return *tag;
}

Status CheckBuildTag(const std::string& plugin_tag) {
  if (plugin_tag == HostBuildTag()) return OkStatus();
  return PreconditionError("it was built by another SDK or with other libraries (",
                           Differences(HostBuildTag(), plugin_tag), " differ)\n  plugin: ", plugin_tag,
                           "\n  host:   ", HostBuildTag(), "\n  build the plugin again against this volery");
}

}  // namespace volery::plugin
