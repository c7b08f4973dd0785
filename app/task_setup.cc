#include "app/task_setup.h"

#include <algorithm>
#include <numeric>

#include "core/data/dataset.h"
#include "core/data/generator.h"

namespace volery::app {
namespace {

constexpr int64_t kMostChecked = 100'000;  // tasks that are looked at before a run; a generator may have many more

// Prompt tokens that leave room for an answer.
StatusOr<int64_t> LongestPrompt(const config::Recipe& recipe, const policy::ModelSource& source) {
  const int64_t room = source.info.context - recipe.rollout.max_new_tokens;
  if (room <= 0) {
    return InvalidError("rollout.max_new_tokens = ", recipe.rollout.max_new_tokens, " leaves no room for a prompt in the model's context of ",
                        source.info.context, " tokens");
  }
  return recipe.tasks.max_prompt_tokens > 0 ? std::min(room, recipe.tasks.max_prompt_tokens) : room;
}

StatusOr<std::shared_ptr<const data::TaskSource>> FromFile(const std::string& file, const config::Recipe& recipe, const policy::ModelSource& source) {
  const config::TasksRecipe& t = recipe.tasks;
  data::TaskOptions options;
  options.columns = {t.prompt, t.messages, t.answer, t.id, t.type};
  options.chat = t.chat;
  options.system = t.system;
  VOLERY_ASSIGN_OR_RETURN(options.max_prompt_tokens, LongestPrompt(recipe, source));
  VOLERY_ASSIGN_OR_RETURN(const data::Dataset dataset, data::ReadDataset(file));
  return data::TaskBuilder(options, MakeTextCallbacks(source)).BuildAll(dataset);
}

}  // namespace

StatusOr<std::vector<text::ChatMessage>> ChatMessages(const nlohmann::json& messages) {
  std::vector<text::ChatMessage> result;
  for (const nlohmann::json& message : messages) {
    const bool fits = message.is_object() && message.contains("role") && message["role"].is_string() && message.contains("content") &&
                      message["content"].is_string();
    if (!fits) return InvalidError("a chat message must be {\"role\": text, \"content\": text}, not ", message.dump());
    for (const char* field : {"tool_calls", "function_call", "reasoning_content"}) {
      if (message.contains(field) && !message[field].empty()) return InvalidError("a chat message has ", field, ", which volery's chat templates don't write");
    }
    result.push_back({message["role"], message["content"]});
  }
  return result;
}

data::TextCallbacks MakeTextCallbacks(const policy::ModelSource& source) {
  data::TextCallbacks callbacks;
  callbacks.render_chat = [chat = source.RequireChat()](const nlohmann::json& messages) -> StatusOr<std::string> {
    if (!chat.ok()) return chat.status();
    VOLERY_ASSIGN_OR_RETURN(const auto list, ChatMessages(messages));
    return text::RenderChat(*chat, list, {});
  };
  callbacks.encode = [tokenizer = source.tokenizer.tokenizer](const std::string& text, bool add_special) -> StatusOr<std::vector<int32_t>> {
    return tokenizer->Encode(text, {.add_special = add_special, .parse_special = true});
  };
  return callbacks;
}

StatusOr<data::TaskSplit> MakeTasks(const config::Recipe& recipe, const policy::ModelSource& source) {
  std::shared_ptr<const data::TaskSource> all;
  if (!recipe.tasks.generator.empty()) {
    VOLERY_ASSIGN_OR_RETURN(const int64_t longest, LongestPrompt(recipe, source));
    VOLERY_ASSIGN_OR_RETURN(all, data::MakeGenerator(recipe.tasks.generator, recipe.tasks.options, static_cast<uint64_t>(recipe.seed), MakeTextCallbacks(source)));
    for (int64_t i = 0; i < std::min(all->size(), kMostChecked); ++i) {
      VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<const data::Task> task, all->Get(i));
      const auto tokens = static_cast<int64_t>(task->prompt.size());
      if (tokens > longest) {
        return InvalidError("generator \"", recipe.tasks.generator, "\", task ", i, ": its prompt has ", tokens, " tokens, more than the ", longest,
                            " that the context and rollout.max_new_tokens (or tasks.max_prompt_tokens) leave; make the tasks shorter or model.context longer");
      }
    }
  } else {
    VOLERY_ASSIGN_OR_RETURN(all, FromFile(recipe.tasks.file, recipe, source));
  }
  if (recipe.eval.file.empty()) return data::SplitHeldOut(all, recipe.eval.tasks, static_cast<uint64_t>(recipe.seed));
  VOLERY_ASSIGN_OR_RETURN(auto held_out, FromFile(recipe.eval.file, recipe, source));
  if (recipe.eval.tasks == 0) return data::TaskSplit{all, nullptr};
  std::vector<int64_t> first(static_cast<size_t>(std::min(held_out->size(), recipe.eval.tasks)));
  std::iota(first.begin(), first.end(), 0);
  return data::TaskSplit{all, std::make_shared<const data::TaskSubset>(std::move(held_out), std::move(first))};
}

StatusOr<std::vector<int32_t>> EncodeAnswer(const policy::ModelSource& source, const data::Task& task) {
  if (task.answer.empty()) return InvalidError("task ", task.id, " has no reference answer; warm-up needs one (tasks.answer names the column)");
  if (source.stop_ids.empty()) return InvalidError(source.where, ": the model names no end token; warm-up can't teach it to stop");
  std::vector<int32_t> ids = source.tokenizer.tokenizer->Encode(task.answer, {.add_special = false, .parse_special = false});
  ids.push_back(source.answer_end.value_or(source.stop_ids.front()));
  return ids;
}

Status CheckAnswers(const policy::ModelSource& source, const data::TaskSource& tasks) {
  for (int64_t i = 0; i < std::min(tasks.size(), kMostChecked); ++i) {
    VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<const data::Task> task, tasks.Get(i));
    VOLERY_RETURN_IF_ERROR(EncodeAnswer(source, *task).status());
  }
  return OkStatus();
}

}  // namespace volery::app
