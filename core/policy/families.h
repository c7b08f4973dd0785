#pragma once
// From a family's name ("qwen2", the model_type of a config.json or the architecture of a GGUF) to the plugin
// that implements it, and from a plugin to a model. Thread-safe.

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <memory>
#include <string>

#include "core/base/status.h"
#include "core/plugin/plugin_host.h"
#include "volery/native/model.h"

namespace volery::policy {

// The result lives until the process ends. NotFound: no plugin has the family; the message lists what there
// is.
using FamilyFinder = std::function<StatusOr<const native::ModelFamily*>(const std::string& family)>;

// Opens the model plugins of `host` one after another until one has the family. `host` must outlive the
// finder.
FamilyFinder FamiliesOf(const plugin::PluginHost& host);

// Families that plugins of `host` offer, sorted; plugins that can't be opened are left out.
std::vector<std::string> FamilyNames(const plugin::PluginHost& host);

// A model without weights: every product goes through LibTorch or what volery-nn packs. Errors: the plugin's
// refusal of a key, with `where` in front.
StatusOr<std::shared_ptr<native::Model>> BuildModel(const native::ModelFamily& family,
                                                    const std::string& config_json, c10::ScalarType dtype,
                                                    c10::Device device, const std::string& where);

}  // namespace volery::policy
