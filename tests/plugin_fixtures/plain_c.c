/* A reward in plain C: shows that the boundary needs nothing else. Scores by the length of the completion. */
#include <stddef.h>

#include "volery/abi/reward.h"

static int32_t score(volery_reward* reward, const volery_reward_call* call, volery_message* message) {
  (void)reward;
  (void)message;
  for (uint64_t i = 0; i < call->sample_count; ++i) {
    const volery_text none = {NULL, 0};
    call->set_result(call, i, VOLERY_REWARD_OK, (double)call->samples[i]->completion.size, none);
  }
  return VOLERY_OK;
}

static void destroy(volery_reward* reward) {
  (void)reward;
}

static volery_reward table = {sizeof(volery_reward), 0, NULL, score, destroy};

static int32_t create(const volery_host* host, const volery_option_value* const* options, uint64_t count,
                      void** instance, volery_message* message) {
  (void)host;
  (void)options;
  (void)count;
  (void)message;
  *instance = &table;
  return VOLERY_OK;
}

__attribute__((visibility("default"))) const volery_plugin volery_plugin_entry = {sizeof(volery_plugin),
                                                                                  VOLERY_ABI_MAJOR,
                                                                                  VOLERY_ABI_MINOR,
                                                                                  "reward",
                                                                                  "fixture.plain_c/1",
                                                                                  "length of the completion",
                                                                                  0,
                                                                                  NULL,
                                                                                  0,
                                                                                  create,
                                                                                  NULL};
