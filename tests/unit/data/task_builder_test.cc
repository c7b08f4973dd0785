#include "core/data/task_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace volery::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One id a byte; -1 in front stands for what a post-processor adds.
TextCallbacks Bytes() {
  TextCallbacks text;
  text.encode = [](const std::string& words, bool add_special) -> StatusOr<std::vector<int32_t>> {
    if (words.find('#') != std::string::npos) return InvalidError("'#' is not in the vocabulary");
    std::vector<int32_t> ids(words.begin(), words.end());
    if (add_special) ids.insert(ids.begin(), -1);
    return ids;
  };
  text.render_chat = [](const nlohmann::json& messages) -> StatusOr<std::string> {
    std::string out;
    for (const auto& message : messages)
      out += Cat(message["role"].get<std::string>()[0], message["content"].get<std::string>(), "|");
    return out;
  };
  return text;
}

DatasetRow Row(nlohmann::json columns) {
  return {"d.jsonl:4", std::move(columns)};
}

TEST(TaskBuilder, PlainPromptWithEveryColumn) {
  const TaskBuilder builder({}, Bytes());
  const auto task =
      builder.Build(Row({{"prompt", "ab"}, {"answer", 7}, {"task_type", "sum"}, {"words", 5}}), 3);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->prompt_text, "ab");
  EXPECT_THAT(task->prompt, ElementsAre(-1, 'a', 'b'));
  EXPECT_EQ(task->answer, "7");
  EXPECT_EQ(task->type, "sum");
  EXPECT_EQ(task->id, "3");
  EXPECT_EQ(task->index, 3);
  EXPECT_EQ(task->columns["words"], 5);
}

TEST(TaskBuilder, ChatRendersThePromptColumnWithoutSpecials) {
  TaskOptions options;
  options.columns.prompt = "question";
  options.columns.id = "name";
  options.chat = true;
  options.system = "S";
  const auto task = TaskBuilder(options, Bytes()).Build(Row({{"question", "Q"}, {"name", "x1"}}), 0);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->prompt_text, "sS|uQ|");
  EXPECT_EQ(task->prompt.front(), 's');
  EXPECT_EQ(task->id, "x1");
  EXPECT_EQ(task->answer, "");
}

TEST(TaskBuilder, MessagesColumn) {
  TaskOptions options;
  options.columns.messages = "messages";
  const TaskBuilder builder(options, Bytes());
  const auto task = builder.Build(Row({{"messages", {{{"role", "user"}, {"content", "hi"}}}}}), 0);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->prompt_text, "uhi|");
  EXPECT_THAT(Message(builder.Build(Row({{"messages", "hi"}}), 0).status()), HasSubstr("d.jsonl:4"));
  EXPECT_THAT(Message(builder.Build(Row({{"messages", {{{"role", "user"}}}}}), 0).status()),
              HasSubstr("\"content\""));
}

TEST(TaskBuilder, ErrorsNameTheRow) {
  TaskOptions options;
  options.max_prompt_tokens = 4;
  const TaskBuilder builder(options, Bytes());
  EXPECT_TRUE(builder.Build(Row({{"prompt", "abc"}}), 0).ok());
  EXPECT_THAT(Message(builder.Build(Row({{"prompt", "abcd"}}), 0).status()),
              HasSubstr("d.jsonl:4: the prompt has 5 tokens"));
  EXPECT_THAT(Message(builder.Build(Row({{"prompt", ""}}), 0).status()),
              HasSubstr("d.jsonl:4: column \"prompt\" is empty"));
  EXPECT_THAT(Message(builder.Build(Row({{"prompt", 5}}), 0).status()),
              HasSubstr("must be a string, but is number"));
  EXPECT_THAT(Message(builder.Build(Row({{"prompt", "#"}}), 0).status()),
              HasSubstr("d.jsonl:4: '#' is not in the vocabulary"));
  TaskOptions named;
  named.columns.answer = "solution";
  EXPECT_THAT(Message(TaskBuilder(named, Bytes()).Build(Row({{"prompt", "a"}}), 0).status()),
              HasSubstr("no column \"solution\""));
}

TEST(TaskBuilder, BuildsAllRows) {
  const auto dataset = ParseJsonLines("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n", "d");
  ASSERT_TRUE(dataset.ok());
  const auto tasks = TaskBuilder({}, Bytes()).BuildAll(*dataset);
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  EXPECT_EQ((*tasks)->size(), 2);
  EXPECT_EQ((*(*tasks)->Get(1))->prompt_text, "b");
  EXPECT_FALSE((*tasks)->Get(2).ok());
}

}  // namespace
}  // namespace volery::data
