#pragma once
// One plugin file: found sound, opened, its entry struct checked. Opened libraries stay loaded until the
// process ends.

#include <memory>
#include <optional>
#include <string>

#include "core/plugin/plugin_info.h"
#include "volery/abi/plugin.h"

namespace volery::plugin {

class PluginLibrary {
 public:
  // Opens `path`, or returns what an earlier call opened. In this order it checks: the file and its build tag
  // (before it is opened), that it links, the entry symbol, ABI version, struct size, fields, and for models
  // that a tag is there. Errors name the file and who broke the contract. Thread-safe.
  static StatusOr<std::shared_ptr<const PluginLibrary>> Open(const std::string& path);

  const PluginInfo& info() const { return info_; }
  const volery_plugin& entry() const { return *entry_; }

 private:
  PluginLibrary(PluginInfo info, const volery_plugin* entry) : info_(std::move(info)), entry_(entry) {}
  static StatusOr<std::shared_ptr<const PluginLibrary>> OpenNew(const std::string& path);
  PluginInfo info_;
  const volery_plugin* entry_;
};

// Checks an entry struct and copies it out; `info` brings path and build tag. Messages don't name the file.
StatusOr<PluginInfo> CheckEntry(const volery_plugin* entry, PluginInfo info);

// The build tag that the file carries, without opening it as a library; nothing: not a native plugin.
StatusOr<std::optional<std::string>> BuildTagOfFile(const std::string& path);

}  // namespace volery::plugin
