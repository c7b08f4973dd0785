#pragma once
// Makes a library a model plugin: VOLERY_MODEL_PLUGIN("vendor.name/1", Family) once, at file scope, where
// Family derives from native::ModelFamily and is default-constructible. Build it with volery_add_model, which
// adds the build tag.

#include "volery/native/model.h"
#include "volery/plugin.h"

namespace volery::native {

// The host casts *instance back to ModelFamily*. The family lives until the process ends.
template <class Family>
int32_t CreateFamily(const volery_host*, const volery_option_value* const*, uint64_t, void** instance,
                     volery_message* message) noexcept {
  return ::volery::internal::Guard(message, [&] {
    static Family* const family = new Family;
    *instance = static_cast<ModelFamily*>(family);
  });
}

}  // namespace volery::native

#define VOLERY_MODEL_PLUGIN(id, Family)                                          \
  VOLERY_EXPORT_PLUGIN = {sizeof(volery_plugin),                                 \
                          VOLERY_ABI_MAJOR,                                      \
                          VOLERY_ABI_MINOR,                                      \
                          "model",                                               \
                          id,                                                    \
                          ::volery::internal::Description<Family>(),             \
                          0,                                                     \
                          ::volery::internal::OptionTable<Family>::kPointers.at, \
                          ::volery::internal::OptionTable<Family>::Count(),      \
                          &::volery::native::CreateFamily<Family>,               \
                          nullptr};
