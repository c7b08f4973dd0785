#pragma once
// From dataset rows to tasks: which column is the prompt (or the chat messages), the answer, the id and the
// type. Chat rendering and tokenising come in as callbacks, so that nothing here knows a tokenizer. All
// columns reach the reward.
//
//   data::TaskBuilder builder(options, {render_chat, encode});
//   VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const data::TaskSource> tasks, builder.BuildAll(dataset));

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/data/dataset.h"
#include "core/data/rollout.h"
#include "core/data/seams.h"

namespace volery::data {

struct TextCallbacks {
  // Messages [{"role": ..., "content": ...}, ...] as the model reads them, up to where its answer begins.
  std::function<StatusOr<std::string>(const nlohmann::json& messages)> render_chat;
  // Token ids. `add_special`: with what the tokenizer's post-processor adds (plain text; rendered chat
  // never).
  std::function<StatusOr<std::vector<int32_t>>(const std::string& text, bool add_special)> encode;
};

// Column names. An empty optional name means the usual one ("answer", "id", "task_type") where the dataset
// has it.
struct TaskColumns {
  std::string prompt = "prompt";
  std::string messages;  // if set, taken instead of `prompt`; its cells are arrays of {"role", "content"}
  std::string answer;
  std::string id;
  std::string type;
};

struct TaskOptions {
  TaskColumns columns;
  bool chat = false;   // the prompt column is what a user says: render it as chat (messages always are)
  std::string system;  // chat only: a system message in front, where not empty
  int64_t max_prompt_tokens = 0;  // 0: no limit
};

// Stateless after construction; thread-safe if the callbacks are.
class TaskBuilder {
 public:
  TaskBuilder(TaskOptions options, TextCallbacks text)
      : options_(std::move(options)), text_(std::move(text)) {}

  // Errors name the row: a column that is missing (with those that exist) or of the wrong kind, an empty
  // prompt, one longer than max_prompt_tokens, text that can't be tokenised.
  StatusOr<Task> Build(const DatasetRow& row, int64_t index) const;
  StatusOr<std::shared_ptr<const TaskSource>> BuildAll(const Dataset& dataset) const;

 private:
  StatusOr<nlohmann::json> Messages(const DatasetRow& row) const;
  StatusOr<std::string> PlainPrompt(const DatasetRow& row) const;

  TaskOptions options_;
  TextCallbacks text_;
};

// Tasks held in memory.
class TaskList : public TaskSource {
 public:
  explicit TaskList(std::vector<std::shared_ptr<const Task>> tasks) : tasks_(std::move(tasks)) {}
  int64_t size() const override { return static_cast<int64_t>(tasks_.size()); }
  StatusOr<std::shared_ptr<const Task>> Get(int64_t index) const override;

 private:
  std::vector<std::shared_ptr<const Task>> tasks_;
};

}  // namespace volery::data
