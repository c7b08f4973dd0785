// Dataset files from outside bytes, JSON Lines and Parquet, up to the tasks made of their rows.
#include <string>
#include <string_view>

#include "core/base/status.h"
#include "core/data/dataset.h"
#include "core/data/task_builder.h"

namespace {

using namespace volery::data;

TextCallbacks Bytes() {
  TextCallbacks text;
  text.encode = [](const std::string& words, bool) -> volery::StatusOr<std::vector<int32_t>> {
    return std::vector<int32_t>(words.begin(), words.end());
  };
  text.render_chat = [](const nlohmann::json& messages) -> volery::StatusOr<std::string> {
    std::string out;
    for (const auto& message : messages) out += message["content"].get<std::string>();
    return out;
  };
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const bool parquet = bytes.starts_with("PAR1");
  volery::StatusOr<Dataset> dataset =
      parquet ? ParseParquet(std::as_bytes(std::span(data, size)), "fuzz") : ParseJsonLines(bytes, "fuzz");
  if (!dataset.ok()) return 0;
  VOLERY_CHECK(!dataset->rows.empty());
  TaskOptions plain, chat;
  plain.max_prompt_tokens = 64;
  chat.columns.messages = "messages";
  chat.system = "system";
  for (const DatasetRow& row : dataset->rows) {
    VOLERY_CHECK(row.columns.is_object());
    for (const TaskOptions& options : {plain, chat}) {
      const volery::StatusOr<Task> task = TaskBuilder(options, Bytes()).Build(row, 0);
      if (!task.ok()) {
        VOLERY_CHECK(volery::Message(task.status()).starts_with(row.where));
        continue;
      }
      VOLERY_CHECK(!task->prompt.empty() && !task->id.empty());
    }
  }
  return 0;
}
