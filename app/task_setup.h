#pragma once
// A recipe's tasks: from a file or a generator, through the model's tokenizer and chat template, with the held-out split.

#include <memory>

#include "core/config/recipe.h"
#include "core/data/held_out.h"
#include "core/data/task_builder.h"
#include "core/policy/model_source.h"

namespace volery::app {

// Errors: no array of {"role": text, "content": text}, or fields that the built-in templates don't render (tool_calls ...).
StatusOr<std::vector<text::ChatMessage>> ChatMessages(const nlohmann::json& messages);

// The callbacks keep what they need of `source` (tokenizer and template), not the source itself.
data::TextCallbacks MakeTextCallbacks(const policy::ModelSource& source);

// Errors name file and line: no JSON, missing columns, prompts that leave no room in the context.
StatusOr<data::TaskSplit> MakeTasks(const config::Recipe& recipe, const policy::ModelSource& source);

// The reference answer as the model should say it: its tokens and the end token.
StatusOr<std::vector<int32_t>> EncodeAnswer(const policy::ModelSource& source, const data::Task& task);
// That the tasks have answers that EncodeAnswer takes.
Status CheckAnswers(const policy::ModelSource& source, const data::TaskSource& tasks);

}  // namespace volery::app
