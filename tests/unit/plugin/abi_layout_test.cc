// The recorded layouts of the C ABI (tests/golden/abi) stay true: fields where they were, structs never
// smaller.
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <sstream>

#include "core/base/files.h"
#include "volery/abi/reward.h"

namespace volery::plugin {
namespace {

using Layout =
    std::map<std::string, std::pair<size_t, size_t>>;  // "struct.field" -> offset, size; "struct" -> 0, size

#define FIELD(s, f)                \
  {                                \
#s "." #f, {                   \
      offsetof(s, f), sizeof(s::f) \
    }                              \
  }
#define STRUCT(s)  \
  {                \
#s, {          \
      0, sizeof(s) \
    }              \
  }

Layout Today() {
  return {
      STRUCT(volery_text),
      FIELD(volery_text, data),
      FIELD(volery_text, size),
      STRUCT(volery_message),
      FIELD(volery_message, size),
      FIELD(volery_message, capacity),
      FIELD(volery_message, length),
      FIELD(volery_message, reserved),
      FIELD(volery_message, data),
      STRUCT(volery_host),
      FIELD(volery_host, size),
      FIELD(volery_host, abi_major),
      FIELD(volery_host, abi_minor),
      FIELD(volery_host, context),
      FIELD(volery_host, log),
      FIELD(volery_host, metric),
      FIELD(volery_host, random_word),
      FIELD(volery_host, extension),
      STRUCT(volery_option_spec),
      FIELD(volery_option_spec, size),
      FIELD(volery_option_spec, type),
      FIELD(volery_option_spec, name),
      FIELD(volery_option_spec, default_value),
      FIELD(volery_option_spec, help),
      STRUCT(volery_option_value),
      FIELD(volery_option_value, size),
      FIELD(volery_option_value, type),
      FIELD(volery_option_value, name),
      FIELD(volery_option_value, integer),
      FIELD(volery_option_value, number),
      FIELD(volery_option_value, text),
      STRUCT(volery_plugin),
      FIELD(volery_plugin, size),
      FIELD(volery_plugin, abi_major),
      FIELD(volery_plugin, abi_minor),
      FIELD(volery_plugin, kind),
      FIELD(volery_plugin, id),
      FIELD(volery_plugin, description),
      FIELD(volery_plugin, flags),
      FIELD(volery_plugin, options),
      FIELD(volery_plugin, option_count),
      FIELD(volery_plugin, create),
      FIELD(volery_plugin, extension),
      STRUCT(volery_reward_span),
      FIELD(volery_reward_span, size),
      FIELD(volery_reward_span, origin),
      FIELD(volery_reward_span, tokens),
      FIELD(volery_reward_span, logprobs),
      FIELD(volery_reward_span, token_count),
      STRUCT(volery_reward_column),
      FIELD(volery_reward_column, size),
      FIELD(volery_reward_column, type),
      FIELD(volery_reward_column, name),
      FIELD(volery_reward_column, text),
      FIELD(volery_reward_column, json),
      STRUCT(volery_reward_sample),
      FIELD(volery_reward_sample, size),
      FIELD(volery_reward_sample, stop_reason),
      FIELD(volery_reward_sample, group_id),
      FIELD(volery_reward_sample, task_index),
      FIELD(volery_reward_sample, sample),
      FIELD(volery_reward_sample, reserved),
      FIELD(volery_reward_sample, task_id),
      FIELD(volery_reward_sample, task_type),
      FIELD(volery_reward_sample, prompt),
      FIELD(volery_reward_sample, completion),
      FIELD(volery_reward_sample, answer),
      FIELD(volery_reward_sample, spans),
      FIELD(volery_reward_sample, span_count),
      FIELD(volery_reward_sample, columns),
      FIELD(volery_reward_sample, column_count),
      STRUCT(volery_reward_call),
      FIELD(volery_reward_call, size),
      FIELD(volery_reward_call, flags),
      FIELD(volery_reward_call, samples),
      FIELD(volery_reward_call, sample_count),
      FIELD(volery_reward_call, context),
      FIELD(volery_reward_call, remaining_ms),
      FIELD(volery_reward_call, cancelled),
      FIELD(volery_reward_call, set_result),
      FIELD(volery_reward_call, set_component),
      STRUCT(volery_reward),
      FIELD(volery_reward, size),
      FIELD(volery_reward, reserved),
      FIELD(volery_reward, self),
      FIELD(volery_reward, score),
      FIELD(volery_reward, destroy),
  };
}

TEST(AbiLayout, RecordedStructsAreAPrefixOfTodays) {
  StatusOr<std::string> recorded = base::ReadFile(VOLERY_SOURCE_DIR "/tests/golden/abi/layout_0_1.txt");
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  const Layout today = Today();
  std::istringstream lines(*recorded);
  size_t count = 0;
  std::string name, place;
  for (size_t size; lines >> name >> place >> size; ++count) {
    auto found = today.find(name);
    ASSERT_NE(found, today.end()) << name << " is gone";
    if (place == "size") {
      EXPECT_GE(found->second.second, size) << name << " shrank";
    } else {
      EXPECT_EQ(std::to_string(found->second.first), place) << name << " moved";
      EXPECT_EQ(found->second.second, size) << name << " changed its size";
    }
  }
  EXPECT_EQ(count, today.size()) << "record the layout of a new field under a new minor version";
}

TEST(AbiLayout, FrozenTextIsTwoWords) {
  EXPECT_EQ(sizeof(volery_text), 16u);
}

}  // namespace
}  // namespace volery::plugin
