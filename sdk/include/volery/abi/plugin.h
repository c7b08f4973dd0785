/* The plain C boundary between volery and its plugins: what every kind shares. Plugin authors who write C++
 * include volery/reward.h instead; this header is what both sides are held to.
 *
 * A plugin is a shared library that exports exactly one symbol, the data object `volery_plugin_entry`. Rules:
 *  - Every struct begins with its size in bytes as its writer knew it. Structs only grow at the end; a reader
 * looks at a field only if the size covers it. volery_text is a frozen value and has no size. Lists are
 * arrays of pointers.
 *  - Same major version: compatible. While the major is 0 a host accepts every minor up to its own.
 *  - Whoever allocates frees. Text that is passed in is valid during the call only, unless said otherwise.
 *  - Nothing throws, exits or longjmps across. Functions return a volery_code and fill the caller's message
 * buffer.
 *  - Thread tags: [any] may be called by several threads at once; [one] by one thread at a time. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VOLERY_ABI_MAJOR 0
#define VOLERY_ABI_MINOR 1
#define VOLERY_PLUGIN_SYMBOL "volery_plugin_entry"

/* UTF-8 or any bytes; not terminated by zero. data may be null when size is 0. Frozen. */
typedef struct volery_text {
  const char* data;
  uint64_t size;
} volery_text;

typedef enum volery_code {
  VOLERY_OK = 0,
  VOLERY_FAILED = 1,   /* the message says why */
  VOLERY_INVALID = 2,  /* an option or argument is wrong; the message names it */
  VOLERY_CANCELLED = 3 /* stopped because the call's cancelled() said so */
} volery_code;

/* A buffer of the caller. The callee writes at most capacity - 1 bytes and a zero, and sets length. */
typedef struct volery_message {
  uint32_t size;
  uint32_t capacity;
  uint32_t length;
  uint32_t reserved;
  char* data;
} volery_message;

typedef enum volery_log_level {
  VOLERY_LOG_DEBUG = 0,
  VOLERY_LOG_INFO = 1,
  VOLERY_LOG_WARNING = 2,
  VOLERY_LOG_ERROR = 3,
  VOLERY_LOG_HOST_MISBEHAVING = 4 /* the host broke this contract */
} volery_log_level;

/* Services of the host. Lives until the instance that it was given to is destroyed. */
typedef struct volery_host {
  uint32_t size;
  uint16_t abi_major;
  uint16_t abi_minor;
  void* context;                                                                    /* the host's own */
  void (*log)(const struct volery_host* host, uint32_t level, volery_text message); /* [any] */
  void (*metric)(const struct volery_host* host, volery_text name, double value); /* [any] averaged a step */
  /* Word n of a named stream; a pure function of (run seed, plugin id, stream, n). [any] */
  uint32_t (*random_word)(const struct volery_host* host, uint32_t stream, uint64_t n);
  /* A table by id "name/revision", or null where this host has none. [any] */
  const void* (*extension)(const struct volery_host* host, const char* id);
} volery_host;

typedef enum volery_option_type {
  VOLERY_OPTION_BOOL = 1,
  VOLERY_OPTION_INTEGER = 2,
  VOLERY_OPTION_NUMBER = 3,
  VOLERY_OPTION_TEXT = 4
} volery_option_type;

/* One option that a plugin takes. default_value is text in the form that a recipe uses ("true", "3", "1e-6",
 * words without quotes for text); null: the option must be given. */
typedef struct volery_option_spec {
  uint32_t size;
  uint32_t type; /* volery_option_type */
  const char* name;
  const char* default_value;
  const char* help; /* one line */
} volery_option_spec;

/* The value of a declared option: given or default. The field of its type is set, the others are zero. */
typedef struct volery_option_value {
  uint32_t size;
  uint32_t type; /* volery_option_type */
  const char* name;
  int64_t integer; /* also 0 or 1 for bool */
  double number;
  volery_text text;
} volery_option_value;

/* What the library exports. Strings and lists are constant for the library's life. */
typedef struct volery_plugin {
  uint32_t size;
  uint16_t abi_major;
  uint16_t abi_minor;
  const char* kind;        /* "reward" | "model" */
  const char* id;          /* "vendor.name/revision": [a-z0-9_]+ . [a-z0-9_]+ / [0-9]+ */
  const char* description; /* one line */
  uint64_t flags;          /* bits of the kind's header */
  const volery_option_spec* const* options;
  uint64_t option_count;
  /* Makes an instance: a pointer to the kind's table (reward: volery_reward). `options` holds every declared
   * option in the order of `options` above. [one] */
  int32_t (*create)(const volery_host* host, const volery_option_value* const* options, uint64_t option_count,
                    void** instance, volery_message* message);
  /* A table by id "name/revision", or null. The function itself may be null. [any] */
  const void* (*extension)(const char* id);
} volery_plugin;

#ifdef __cplusplus
} /* extern "C" */
#endif
