#pragma once
// From a family's name ("qwen2", the model_type of a config.json or the architecture of a GGUF) to the plugin
// that implements it, and from a plugin to a model. Thread-safe.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/plugin/plugin_host.h"
#include "volery/native/model.h"

namespace volery::policy {

// The families of a host's model plugins, which are opened one after another. The host must outlive it; what it
// gives lives until the process ends.
class FamilyFinder {
 public:
  explicit FamilyFinder(const plugin::PluginHost& host) : host_(&host) {}
  // NotFound: no plugin has the family; the message lists what there is.
  StatusOr<const native::ModelFamily*> operator()(const std::string& family) const;
  // One of each plugin that can be opened; `failures`, if given, says why the others can't be.
  std::vector<const native::ModelFamily*> All(std::vector<std::string>* failures = nullptr) const;

 private:
  const plugin::PluginHost* host_;
};

// Lines for the end of a message; empty where there are none.
std::string NotUsable(const std::vector<std::string>& failures);

inline FamilyFinder FamiliesOf(const plugin::PluginHost& host) {
  return FamilyFinder(host);
}

// Families that plugins of `host` offer, sorted; plugins that can't be opened are left out.
std::vector<std::string> FamilyNames(const plugin::PluginHost& host);

// A model without weights: every product goes through LibTorch or what volery-nn packs. `options`: see
// native::BuildOptions. Errors: the plugin's refusal of a key or option, with `where` in front.
StatusOr<std::shared_ptr<native::Model>> BuildModel(const native::ModelFamily& family,
                                                    const std::string& config_json, c10::ScalarType dtype,
                                                    c10::Device device, const std::string& where,
                                                    const std::map<std::string, std::string>& options = {});

}  // namespace volery::policy
