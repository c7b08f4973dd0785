#include "core/data/task_builder.h"

namespace volery::data {
namespace {

// Text of a cell: strings as they are, other scalars as JSON writes them.
StatusOr<std::string> CellText(const DatasetRow& row, const std::string& name) {
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json* cell, Column(row, name));
  if (cell->is_string()) return cell->get<std::string>();
  if (cell->is_null()) return std::string();
  return cell->dump();
}

// A named column must exist; where no name was given the usual one is taken if it is there.
StatusOr<std::string> OptionalText(const DatasetRow& row, const std::string& name, const char* usual) {
  if (!name.empty()) return CellText(row, name);
  if (row.columns.contains(usual)) return CellText(row, usual);
  return std::string();
}

Status CheckMessages(const nlohmann::json& messages, const DatasetRow& row, const std::string& column) {
  if (!messages.is_array() || messages.empty()) {
    return InvalidError(row.where, ": column \"", column,
                        "\" must be a non-empty array of {\"role\", \"content\"}, but is ",
                        messages.type_name());
  }
  for (const nlohmann::json& message : messages) {
    const bool good = message.is_object() && message.contains("role") && message["role"].is_string() &&
                      message.contains("content") && message["content"].is_string();
    if (!good) {
      return InvalidError(row.where, ": each message in column \"", column,
                          "\" needs the strings \"role\" and \"content\"");
    }
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::string> TaskBuilder::PlainPrompt(const DatasetRow& row) const {
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json* cell, Column(row, options_.columns.prompt));
  if (!cell->is_string()) {
    return InvalidError(row.where, ": column \"", options_.columns.prompt, "\" must be a string, but is ",
                        cell->type_name(),
                        cell->is_array() ? "; name a column of chat messages as tasks.messages" : "");
  }
  std::string prompt = cell->get<std::string>();
  if (prompt.empty()) return InvalidError(row.where, ": column \"", options_.columns.prompt, "\" is empty");
  return prompt;
}

StatusOr<nlohmann::json> TaskBuilder::Messages(const DatasetRow& row) const {
  nlohmann::json messages = nlohmann::json::array();
  if (!options_.system.empty()) messages.push_back({{"role", "system"}, {"content", options_.system}});
  if (options_.columns.messages.empty()) {
    VOLERY_ASSIGN_OR_RETURN(std::string prompt, PlainPrompt(row));
    messages.push_back({{"role", "user"}, {"content", std::move(prompt)}});
    return messages;
  }
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json* cell, Column(row, options_.columns.messages));
  VOLERY_RETURN_IF_ERROR(CheckMessages(*cell, row, options_.columns.messages));
  for (const nlohmann::json& message : *cell) messages.push_back(message);
  return messages;
}

StatusOr<Task> TaskBuilder::Build(const DatasetRow& row, int64_t index) const {
  Task task;
  task.index = index;
  const bool chat = options_.chat || !options_.columns.messages.empty();
  if (chat) {
    VOLERY_ASSIGN_OR_RETURN(nlohmann::json messages, Messages(row));
    StatusOr<std::string> rendered = text_.render_chat(messages);
    if (!rendered.ok()) return Annotate(rendered.status(), row.where);
    task.prompt_text = *std::move(rendered);
  } else {
    VOLERY_ASSIGN_OR_RETURN(task.prompt_text, PlainPrompt(row));
  }
  StatusOr<std::vector<int32_t>> ids = text_.encode(task.prompt_text, !chat);
  if (!ids.ok()) return Annotate(ids.status(), row.where);
  task.prompt = *std::move(ids);
  if (task.prompt.empty()) return InvalidError(row.where, ": the prompt has no tokens");
  const int64_t length = static_cast<int64_t>(task.prompt.size());
  if (options_.max_prompt_tokens > 0 && length > options_.max_prompt_tokens) {
    return InvalidError(
        row.where, ": the prompt has ", length, " tokens, but only ", options_.max_prompt_tokens,
        " leave room for the answer in the model's context; shorten it, remove the row or lower "
        "rollout.max_new_tokens");
  }
  VOLERY_ASSIGN_OR_RETURN(task.answer, OptionalText(row, options_.columns.answer, "answer"));
  VOLERY_ASSIGN_OR_RETURN(task.id, OptionalText(row, options_.columns.id, "id"));
  VOLERY_ASSIGN_OR_RETURN(task.type, OptionalText(row, options_.columns.type, "task_type"));
  if (task.id.empty()) task.id = Cat(index);
  task.columns = row.columns;
  return task;
}

StatusOr<std::shared_ptr<const TaskSource>> TaskBuilder::BuildAll(const Dataset& dataset) const {
  std::vector<std::shared_ptr<const Task>> tasks;
  tasks.reserve(dataset.rows.size());
  for (const DatasetRow& row : dataset.rows) {
    VOLERY_ASSIGN_OR_RETURN(Task task, Build(row, static_cast<int64_t>(tasks.size())));
    tasks.push_back(std::make_shared<const Task>(std::move(task)));
  }
  return std::make_shared<const TaskList>(std::move(tasks));
}

StatusOr<std::shared_ptr<const Task>> TaskList::Get(int64_t index) const {
  if (index < 0 || index >= size()) return InternalError("task ", index, " of ", size());
  return tasks_[static_cast<size_t>(index)];
}

}  // namespace volery::data
