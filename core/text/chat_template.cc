#include "core/text/chat_template.h"

#include <array>
#include <string_view>

#include "core/base/hash.h"
#include "core/text/template_canon.h"
#include "core/text/unicode.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr std::array<ChatTemplate, 6> kAll = {ChatTemplate::kChatMl, ChatTemplate::kSmolLm2,
                                              ChatTemplate::kQwen25, ChatTemplate::kQwen3,
                                              ChatTemplate::kLlama3, ChatTemplate::kRwkvWorld};

constexpr char kSmolLm2System[] = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
constexpr char kQwen25System[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

// SHA-256 of the canonical spelling of templates that models were published with and that also render tool
// calls (which we never pass), or, of RWKV folders, that neither clean contents nor leave id 0 out.
// tests/golden/text/record_chat.py and record_world_chat.py name their origins.
struct Published {
  ChatTemplate chat_template;
  const char* sha256;
};
constexpr Published kPublished[] = {
    {ChatTemplate::kQwen25, "c6ac1d84c21bd94cc53c13e26e288acc800d42ba64774fce342a4e3ee2c8c602"},
    {ChatTemplate::kQwen3, "b9b0157e61b6f42e011444751aa5d8c26bb97578eee04dcc26ee0321591ac84d"},
    {ChatTemplate::kQwen3, "988e3db678aa36ff57ad91c06c7649032d5f54dd024438f8ae16f098890a8be9"},
    {ChatTemplate::kRwkvWorld, "6648c6a14232d6eaf78715c35432ed6f547f67fdd756207304466015daba0dab"},
};

constexpr char kChatMlJinja[] =
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr char kSmolLm2Jinja[] =
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr char kQwen25Jinja[] =
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
    "assistant.<|im_end|>\\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}"
    "{% if loop.first or loop.previtem['role'] != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\\n<tool_response>\\n' + message['content'] + '\\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem['role'] != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr char kQwen3Jinja[] =
    "{% set state = namespace(query=messages|length - 1) %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' and not (message['content'].startswith('<tool_response>') and "
    "message['content'].endswith('</tool_response>')) %}{% set state.query = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for message in messages %}"
    "{% set parts = message['content'].split('</think>') %}"
    "{% if message['role'] == 'tool' %}"
    "{% if loop.first or loop.previtem['role'] != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\\n<tool_response>\\n' + message['content'] + '\\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem['role'] != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% elif message['role'] != 'assistant' %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% else %}"
    "{% set thought = parts[0].rstrip('\\n').split('<think>')[-1].strip('\\n') if parts|length > 1 else '' %}"
    "{% set answer = parts[-1].lstrip('\\n') if parts|length > 1 else message['content'] %}"
    "{{ '<|im_start|>assistant\\n' }}"
    "{% if loop.index0 > state.query and (loop.last or thought) %}"
    "{{ '<think>\\n' + thought + '\\n</think>\\n\\n' + answer.lstrip('\\n') }}"
    "{% else %}{{ answer }}{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% "
    "endif %}"
    "{% endif %}";
constexpr char kLlama3Jinja[] =
    "{% set loop_messages = messages %}"
    "{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
    "message['content'] | trim + "
    "'<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

constexpr char kRwkvWorldJinja[] =
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ': ' + message['content'].replace('\\r\\n', '\\n').split('\\n') | "
    "select | "
    "join('\\n') | trim + '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

std::string Turn(std::string_view role, std::string_view content) {
  return Cat("<|im_start|>", role, "\n", content, "<|im_end|>\n");
}

// What Python's str.strip takes away: White_Space and the four separators U+001C to U+001F.
std::string_view Trim(std::string_view text) {
  const uint8_t* classes = CharacterClasses();
  const auto blank = [&](size_t at) {
    const uint32_t c = CodePointAt(text, at).value;
    return (classes[c] & kSpace) != 0 || (c >= 0x1C && c <= 0x1F);
  };
  while (!text.empty() && blank(0)) text.remove_prefix(CodePointAt(text, 0).length);
  while (!text.empty()) {
    const size_t last = CharacterBefore(text, text.size());
    if (!blank(last)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view WithoutLeadingNewlines(std::string_view text) {
  while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
  return text;
}

std::string_view WithoutTrailingNewlines(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  return text;
}

// The run of tool results around message `i`, as one user turn.
std::string ToolPart(const std::vector<ChatMessage>& messages, size_t i) {
  const bool first = i == 0 || messages[i - 1].role != "tool";
  const bool last = i + 1 == messages.size() || messages[i + 1].role != "tool";
  return Cat(first ? "<|im_start|>user" : "", "\n<tool_response>\n", messages[i].content,
             "\n</tool_response>", last ? "<|im_end|>\n" : "");
}

// Index of the last question: thoughts of answers before it are left out.
size_t LastQuery(const std::vector<ChatMessage>& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool tool_result = content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !tool_result) return i;
  }
  return messages.size() - 1;
}

std::string Qwen3Answer(const std::string& content, bool after_query, bool last) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  const std::string_view text = content;
  std::string_view thought, answer = text;
  if (const size_t close = text.find(kClose); close != std::string_view::npos) {
    thought = WithoutTrailingNewlines(text.substr(0, close));
    const size_t open = thought.rfind(kOpen);
    if (open != std::string_view::npos) thought = thought.substr(open + kOpen.size());
    thought = WithoutLeadingNewlines(thought);
    answer = WithoutLeadingNewlines(text.substr(text.rfind(kClose) + kClose.size()));
  }
  if (!after_query || !(last || !thought.empty())) return Turn("assistant", answer);
  return Turn("assistant", Cat("<think>\n", WithoutTrailingNewlines(thought), "\n</think>\n\n",
                               WithoutLeadingNewlines(answer)));
}

StatusOr<std::string> RenderQwen(const std::vector<ChatMessage>& messages, bool qwen3) {
  std::string out;
  if (!qwen3 && messages[0].role != "system") out += Turn("system", kQwen25System);
  const size_t query = LastQuery(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = messages[i];
    if (role == "tool") {
      out += ToolPart(messages, i);
    } else if (role == "assistant" && qwen3) {
      out += Qwen3Answer(content, i > query, i + 1 == messages.size());
    } else if (role == "system" || role == "user" || role == "assistant") {
      out += Turn(role, content);
    } else {
      return InvalidError("message ", i, " has role '", role, "'; the ", qwen3 ? "qwen3" : "qwen2.5",
                          " chat template knows system, user, assistant and tool");
    }
  }
  return out;
}

std::string RenderLlama3(const std::vector<ChatMessage>& messages) {
  std::string out = "<|begin_of_text|>";
  for (const ChatMessage& message : messages) {
    out += Cat("<|start_header_id|>", message.role, "<|end_header_id|>\n\n", Trim(message.content),
               "<|eot_id|>");
  }
  return out;
}

std::string CleanTurn(std::string_view content) {
  std::string out;
  for (size_t at = 0; at < content.size(); ++at) {
    if (content.substr(at, 2) == "\r\n") continue;
    if (content[at] == '\n' && out.ends_with('\n')) continue;
    out += content[at];
  }
  return std::string(Trim(out));
}

StatusOr<std::string> RenderRwkvWorld(const std::vector<ChatMessage>& messages) {
  std::string out;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    const char* name = role == "system"      ? "System"
                       : role == "user"      ? "User"
                       : role == "assistant" ? "Assistant"
                                             : nullptr;
    if (name == nullptr) {
      return InvalidError("message ", i, " has role '", role,
                          "'; the rwkv-world chat template knows system, user and assistant");
    }
    out += Cat(name, ": ", CleanTurn(messages[i].content), "\n\n");
  }
  return out;
}

}  // namespace

const char* ChatTemplateName(ChatTemplate chat_template) {
  switch (chat_template) {
    case ChatTemplate::kChatMl:
      return "chatml";
    case ChatTemplate::kSmolLm2:
      return "smollm2";
    case ChatTemplate::kQwen25:
      return "qwen2.5";
    case ChatTemplate::kQwen3:
      return "qwen3";
    case ChatTemplate::kLlama3:
      return "llama3";
    case ChatTemplate::kRwkvWorld:
      return "rwkv-world";
  }
  return "";
}

std::string ChatTemplateNames() {
  std::string names;
  for (const ChatTemplate chat_template : kAll) {
    names += Cat(names.empty()                  ? ""
                 : chat_template == kAll.back() ? " and "
                                                : ", ",
                 ChatTemplateName(chat_template));
  }
  return names;
}

StatusOr<ChatTemplate> ChatTemplateFromName(const std::string& name) {
  for (const ChatTemplate chat_template : kAll) {
    if (name == ChatTemplateName(chat_template)) return chat_template;
  }
  return InvalidError("chat template '", name, "' is unknown; there are ", ChatTemplateNames());
}

const char* ChatTemplateJinja(ChatTemplate chat_template) {
  switch (chat_template) {
    case ChatTemplate::kChatMl:
      return kChatMlJinja;
    case ChatTemplate::kSmolLm2:
      return kSmolLm2Jinja;
    case ChatTemplate::kQwen25:
      return kQwen25Jinja;
    case ChatTemplate::kQwen3:
      return kQwen3Jinja;
    case ChatTemplate::kLlama3:
      return kLlama3Jinja;
    case ChatTemplate::kRwkvWorld:
      return kRwkvWorldJinja;
  }
  return "";
}

const char* EndOfTurn(ChatTemplate chat_template) {
  if (chat_template == ChatTemplate::kRwkvWorld) return "";
  return chat_template == ChatTemplate::kLlama3 ? "<|eot_id|>" : "<|im_end|>";
}

std::vector<std::string> StopTexts(ChatTemplate chat_template, bool blank_line) {
  if (chat_template != ChatTemplate::kRwkvWorld) return {};
  std::vector<std::string> texts = {"\n\nUser:"};
  if (blank_line) texts.push_back("\n\n");
  return texts;
}

std::optional<ChatTemplate> RecogniseTemplate(const std::string& jinja_text) {
  const std::string canonical = CanonicalTemplate(jinja_text);
  for (const ChatTemplate chat_template : kAll) {
    if (canonical == CanonicalTemplate(ChatTemplateJinja(chat_template))) return chat_template;
  }
  const std::string sha256 = base::Sha256Hex(canonical);
  for (const Published& published : kPublished) {
    if (sha256 == published.sha256) return published.chat_template;
  }
  return std::nullopt;
}

StatusOr<std::string> RenderChat(ChatTemplate chat_template, const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options) {
  if (messages.empty()) return InvalidError("a chat needs at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!IsValidUtf8(messages[i].content)) return InvalidError("content of message ", i, " is not UTF-8");
  }
  std::string out;
  const bool qwen3 = chat_template == ChatTemplate::kQwen3;
  if (chat_template == ChatTemplate::kLlama3) {
    out = RenderLlama3(messages);
    if (options.add_generation_prompt) out += "<|start_header_id|>assistant<|end_header_id|>\n\n";
    return out;
  }
  if (chat_template == ChatTemplate::kRwkvWorld) {
    VOLERY_ASSIGN_OR_RETURN(out, RenderRwkvWorld(messages));
    if (options.add_generation_prompt) out += "Assistant:";
    return out;
  }
  if (qwen3 || chat_template == ChatTemplate::kQwen25) {
    VOLERY_ASSIGN_OR_RETURN(out, RenderQwen(messages, qwen3));
  } else {
    if (chat_template == ChatTemplate::kSmolLm2 && messages[0].role != "system")
      out += Turn("system", kSmolLm2System);
    for (const ChatMessage& message : messages) out += Turn(message.role, message.content);
  }
  if (options.add_generation_prompt) out += "<|im_start|>assistant\n";
  if (options.add_generation_prompt && qwen3 && !options.enable_thinking) out += "<think>\n\n</think>\n\n";
  return out;
}

}  // namespace volery::text
