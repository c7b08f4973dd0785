/* The reward kind ("reward"): scores finished rollouts. One call holds one sample, a batch of unrelated
 * samples, or a whole group (all rollouts of one task). The plugin hands results over through the call's
 * functions, sample by sample, so that what was scored before a failure counts. A failure is a status, never
 * a score of 0. */
#pragma once

#include "volery/abi/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* volery_plugin.flags */
#define VOLERY_REWARD_MAY_HANG 1u    /* runs in a child process that is killed at its limit */
#define VOLERY_REWARD_WANTS_GROUP 2u /* every call holds exactly one whole group */

typedef enum volery_span_origin {
  VOLERY_SPAN_PROMPT = 0,
  VOLERY_SPAN_SAMPLED = 1,
  VOLERY_SPAN_INSERTED = 2
} volery_span_origin;

typedef enum volery_stop_reason {
  VOLERY_STOP_TOKEN = 0,  /* the model ended it */
  VOLERY_STOP_LENGTH = 1, /* cut at the limit */
  VOLERY_STOP_CANCELLED = 2
} volery_stop_reason;

typedef enum volery_json_type {
  VOLERY_JSON_NULL = 0,
  VOLERY_JSON_BOOL = 1,
  VOLERY_JSON_NUMBER = 2,
  VOLERY_JSON_STRING = 3,
  VOLERY_JSON_ARRAY = 4,
  VOLERY_JSON_OBJECT = 5
} volery_json_type;

typedef enum volery_reward_status {
  VOLERY_REWARD_OK = 0,
  VOLERY_REWARD_TIMEOUT = 1,
  VOLERY_REWARD_ERROR = 2,
  VOLERY_REWARD_NOT_APPLICABLE = 3
} volery_reward_status;

/* A run of tokens of one origin; the spans of a sample joined are the rollout. */
typedef struct volery_reward_span {
  uint32_t size;
  uint32_t origin; /* volery_span_origin */
  const int32_t* tokens;
  const float* logprobs; /* one a token for sampled spans; else null */
  uint64_t token_count;
} volery_reward_span;

/* One column of the sample's dataset row. */
typedef struct volery_reward_column {
  uint32_t size;
  uint32_t type; /* volery_json_type */
  volery_text name;
  volery_text text; /* a string's value; for every other type the same as json */
  volery_text json; /* the value as JSON text */
} volery_reward_column;

typedef struct volery_reward_sample {
  uint32_t size;
  uint32_t stop_reason; /* volery_stop_reason */
  uint64_t group_id;    /* the same for all rollouts of one task in one step */
  int64_t task_index;   /* row of the dataset */
  uint32_t sample;      /* number within the group */
  uint32_t reserved;
  volery_text task_id;
  volery_text task_type;
  volery_text prompt;
  volery_text completion; /* the sampled text, without the stop token */
  volery_text answer;     /* the dataset's answer column, or empty */
  const volery_reward_span* const* spans;
  uint64_t span_count;
  const volery_reward_column* const* columns;
  uint64_t column_count;
} volery_reward_sample;

#define VOLERY_REWARD_CALL_GROUP 1u /* volery_reward_call.flags: the samples are one whole group */

/* One call. Every function may be called from any thread until score() returns. */
typedef struct volery_reward_call {
  uint32_t size;
  uint32_t flags;
  const volery_reward_sample* const* samples;
  uint64_t sample_count;
  void* context;
  /* Milliseconds until the host gives this call up; 0 or less: it has. */
  int64_t (*remaining_ms)(const struct volery_reward_call* call);
  /* 1 once the deadline has passed or the run stops: return soon. */
  int32_t (*cancelled)(const struct volery_reward_call* call);
  /* A sample's outcome. `score` counts with VOLERY_REWARD_OK only and must be finite; `message` says why
   * otherwise. The last call for a sample holds. Returns VOLERY_INVALID for an index or status out of range.
   */
  int32_t (*set_result)(const struct volery_reward_call* call, uint64_t index, uint32_t status, double score,
                        volery_text message);
  /* A named part of a sample's score, for metrics. */
  int32_t (*set_component)(const struct volery_reward_call* call, uint64_t index, volery_text name,
                           double value);
} volery_reward_call;

/* The instance of this kind. The plugin owns it until destroy. */
typedef struct volery_reward {
  uint32_t size;
  uint32_t reserved;
  void* self; /* the plugin's own */
  /* Scores the call's samples. VOLERY_OK: each sample has a result. Otherwise samples without one get status
   * error with the message. [any] */
  int32_t (*score)(struct volery_reward* reward, const volery_reward_call* call, volery_message* message);
  void (*destroy)(struct volery_reward* reward); /* [one], after the last score() returned */
} volery_reward;

#ifdef __cplusplus
} /* extern "C" */
#endif
