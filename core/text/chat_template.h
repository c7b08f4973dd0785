#pragma once
// Chat templates of the families that we know, rendered natively. A model's own template (Jinja) is
// recognised, never interpreted: one that isn't known for certain is nullopt, and the user names a
// ChatTemplate instead. Rendered text carries its own begin-of-text token, so encode it with add_special =
// false. Thread-safe; no state.
//
//   StatusOr<std::string> prompt = RenderChat(ChatTemplate::kSmolLm2, {{"user", "Hi"}}, {});

#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::text {

enum class ChatTemplate { kChatMl, kSmolLm2, kQwen25, kQwen3, kLlama3, kRwkvWorld };

struct ChatMessage {
  std::string
      role;  // system, user, assistant (chatml, smollm2 and llama3 pass any role on; qwen also knows tool)
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool enable_thinking = true;  // qwen3: false puts an empty thought after the generation prompt
};

// chatml, smollm2, qwen2.5, qwen3, llama3, rwkv-world
const char* ChatTemplateName(ChatTemplate chat_template);
// The names with commas, for messages.
std::string ChatTemplateNames();
StatusOr<ChatTemplate> ChatTemplateFromName(const std::string& name);
std::optional<ChatTemplate> RecogniseTemplate(const std::string& jinja_text);

// InvalidArgument for no messages and for a role that the template doesn't know. rwkv-world parts turns by
// blank lines, so it cleans contents: CRLF to LF, runs of newlines to one, white space off both ends. It
// begins without id 0, which the template of Hugging Face RWKV folders has in front and models don't need; an
// answer begins with the space that the prompt "... Assistant:" leaves off.
StatusOr<std::string> RenderChat(ChatTemplate chat_template, const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options);

// What ends an answer: the content of a token, or "" where texts do it (rwkv-world; see stop_matcher.h).
const char* EndOfTurn(ChatTemplate chat_template);
// "\n\nUser:" for rwkv-world, with `blank_line` also "\n\n", for answers of one paragraph; nothing for
// others.
std::vector<std::string> StopTexts(ChatTemplate chat_template, bool blank_line = false);

// A Jinja template that renders as RenderChat does (without tools), for exported folders of models that bring
// none.
const char* ChatTemplateJinja(ChatTemplate chat_template);

}  // namespace volery::text
