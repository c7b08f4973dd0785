// Entry structs that a host must refuse; the FIXTURE_ macros say what is wrong.
#include <stdexcept>

#include "volery/abi/reward.h"

namespace {

int32_t Score(volery_reward*, const volery_reward_call*, volery_message*) {
  throw std::runtime_error("across the boundary");
}
void Destroy(volery_reward*) {}
volery_reward table{sizeof(volery_reward), 0, nullptr, &Score, &Destroy};

int32_t Create(const volery_host*, const volery_option_value* const*, uint64_t, void** instance,
               volery_message*) {
#ifdef FIXTURE_NULL_INSTANCE
  *instance = table.self;  // null
#else
  *instance = &table;
#endif
  return VOLERY_OK;
}

#ifndef FIXTURE_SIZE
#define FIXTURE_SIZE sizeof(volery_plugin)
#endif
#ifndef FIXTURE_MAJOR
#define FIXTURE_MAJOR VOLERY_ABI_MAJOR
#endif
#ifndef FIXTURE_MINOR
#define FIXTURE_MINOR VOLERY_ABI_MINOR
#endif
#ifndef FIXTURE_KIND
#define FIXTURE_KIND "reward"
#endif
#ifndef FIXTURE_ID
#define FIXTURE_ID "fixture.entry/1"
#endif

#ifdef FIXTURE_BAD_DEFAULT
const volery_option_spec spec{sizeof(volery_option_spec), VOLERY_OPTION_INTEGER, "count", "many",
                              "a whole number"};
const volery_option_spec* const specs[] = {&spec};
#define FIXTURE_OPTIONS specs, 1
#else
#define FIXTURE_OPTIONS nullptr, 0
#endif

}  // namespace

#ifndef FIXTURE_NO_ENTRY
extern "C" __attribute__((visibility("default"))) const volery_plugin volery_plugin_entry = {
    FIXTURE_SIZE,    FIXTURE_MAJOR, FIXTURE_MINOR, FIXTURE_KIND, FIXTURE_ID, "", 0,
    FIXTURE_OPTIONS, &Create,       nullptr};
#else
extern "C" __attribute__((visibility("default"))) int32_t another_symbol(void** instance) {
  return Create(nullptr, nullptr, 0, instance, nullptr);
}
#endif

#ifdef FIXTURE_UNDEFINED
extern "C" int volery_fixture_symbol_that_nobody_defines();
extern "C" __attribute__((visibility("hidden"), used)) int volery_fixture_uses_it() {
  return volery_fixture_symbol_that_nobody_defines();
}
#endif

#ifdef VOLERY_BUILD_TAG
#include "volery/native/build_tag.h"
#endif
