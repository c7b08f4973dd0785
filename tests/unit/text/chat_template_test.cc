#include "core/text/chat_template.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/text/template_canon.h"
#include "core/text/world_tokenizer.h"
#include "tests/unit/text/golden_rows.h"

namespace volery::text {
namespace {

constexpr ChatTemplate kAll[] = {ChatTemplate::kChatMl, ChatTemplate::kSmolLm2, ChatTemplate::kQwen25,
                                 ChatTemplate::kQwen3,  ChatTemplate::kLlama3,  ChatTemplate::kRwkvWorld};

TEST(ChatTemplate, RendersAsTransformersDoes) {
  const auto golden = nlohmann::json::parse(GoldenText("chat.json"));
  std::map<std::string, int> counts;
  for (const auto& row : golden["renderings"]) {
    const auto name = row["template"].get<std::string>();
    const auto chat_template = ChatTemplateFromName(name);
    ASSERT_TRUE(chat_template.ok()) << chat_template.status();
    std::vector<ChatMessage> messages;
    for (const auto& message : row["messages"]) messages.push_back({message["role"], message["content"]});
    ChatOptions options;
    options.add_generation_prompt = row["add_generation_prompt"];
    options.enable_thinking = row["enable_thinking"];
    const auto text = RenderChat(*chat_template, messages, options);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, row["text"].get<std::string>()) << name << " " << row["messages"].dump();
    ++counts[name];
  }
  EXPECT_EQ(counts.size(), 5u);
  for (const auto& [name, count] : counts) EXPECT_GE(count, 14) << name;
}

TEST(ChatTemplate, RendersWorldChatsAsTransformersDoes) {
  const auto golden = nlohmann::json::parse(GoldenText("world_chat.json"));
  EXPECT_EQ(ChatTemplateJinja(ChatTemplate::kRwkvWorld), golden["exported"].get<std::string>());
  EXPECT_EQ(RecogniseTemplate(golden["published"]), ChatTemplate::kRwkvWorld);
  ASSERT_GE(golden["renderings"].size(), 30u);
  for (const auto& row : golden["renderings"]) {
    std::vector<ChatMessage> messages;
    for (const auto& message : row["messages"]) messages.push_back({message["role"], message["content"]});
    ChatOptions options;
    options.add_generation_prompt = row["add_generation_prompt"];
    std::string expected = row["text"];
    if (row["template"] == "published") {
      ASSERT_TRUE(expected.starts_with(kWorldEndContent));
      expected = expected.substr(std::strlen(kWorldEndContent));
    }
    const auto text = RenderChat(ChatTemplate::kRwkvWorld, messages, options);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(*text, expected) << row["messages"].dump();
  }
}

TEST(ChatTemplate, SaysWhatEndsAnAnswer) {
  EXPECT_STREQ(EndOfTurn(ChatTemplate::kChatMl), "<|im_end|>");
  EXPECT_STREQ(EndOfTurn(ChatTemplate::kLlama3), "<|eot_id|>");
  EXPECT_STREQ(EndOfTurn(ChatTemplate::kRwkvWorld), "");
  EXPECT_TRUE(StopTexts(ChatTemplate::kChatMl, true).empty());
  EXPECT_EQ(StopTexts(ChatTemplate::kRwkvWorld), (std::vector<std::string>{"\n\nUser:"}));
  EXPECT_EQ(StopTexts(ChatTemplate::kRwkvWorld, true), (std::vector<std::string>{"\n\nUser:", "\n\n"}));
}

TEST(ChatTemplate, NamesAreUniqueAndUnknownOnesAreRefused) {
  for (const ChatTemplate chat_template : kAll)
    EXPECT_EQ(*ChatTemplateFromName(ChatTemplateName(chat_template)), chat_template);
  EXPECT_NE(
      Message(ChatTemplateFromName("alpaca").status())
          .find("'alpaca' is unknown; there are chatml, smollm2, qwen2.5, qwen3, llama3 and rwkv-world"),
      std::string::npos);
}

TEST(ChatTemplate, RefusesWhatItCannotRender) {
  EXPECT_FALSE(RenderChat(ChatTemplate::kChatMl, {}, {}).ok());
  EXPECT_NE(Message(RenderChat(ChatTemplate::kQwen25, {{"user", "x"}, {"critic", "y"}}, {}).status())
                .find("message 1 has role 'critic'"),
            std::string::npos);
  EXPECT_NE(Message(RenderChat(ChatTemplate::kRwkvWorld, {{"tool", "x"}}, {}).status())
                .find("message 0 has role 'tool'"),
            std::string::npos);
  EXPECT_FALSE(RenderChat(ChatTemplate::kLlama3, {{"user", "\xFF"}}, {}).ok());
}

TEST(RecogniseTemplate, KnowsTheFamiliesInAnyLayout) {
  for (const ChatTemplate chat_template : kAll)
    EXPECT_EQ(RecogniseTemplate(ChatTemplateJinja(chat_template)), chat_template);
  EXPECT_EQ(RecogniseTemplate(
                "{%- for message in messages %}\n    {{- \"<|im_start|>\" + message.role + '\\n' + "
                "message['content'] + '<|im_end|>' + '\\n' }}\r\n{%- endfor %}\n{#- note -#}\n"
                "{%- if add_generation_prompt %}\n  {{- '<|im_start|>assistant\n' }}\n{%- endif %}\n"),
            ChatTemplate::kChatMl);
}

TEST(RecogniseTemplate, RefusesWhatDiffersInAnyWayThatShows) {
  const std::string chatml = ChatTemplateJinja(ChatTemplate::kChatMl);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = chatml;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& text :
       {std::string(), std::string("{{ messages }}"), chatml + " ", changed("<|im_end|>", "<|im_end|> "),
        changed("assistant\\n", "assistant\\n<think>\\n"),
        changed("message['content']", "message['content'] | trim"),
        changed("{% endfor %}", "\n {% endfor %}"), changed("<|im_end|>\\n", "<|im_end|>")}) {
    EXPECT_FALSE(RecogniseTemplate(text).has_value()) << text;
  }
}

TEST(CanonicalTemplate, ResolvesWhiteSpaceAsTransformersRenders) {
  EXPECT_EQ(CanonicalTemplate("a\n  {% if x %}\nb{% endif %}\n"), "{{\"a\\n\"}}{%if x%}{{\"b\"}}{%endif%}");
  EXPECT_EQ(CanonicalTemplate("a {{- x['k'] -}} b"), "{{\"a\"+x.k+\"b\"}}");
  EXPECT_EQ(CanonicalTemplate("{{ 'it\\'s' ~ \"q\\\"\" }}"), "{{\"it's\"~\"q\\\"\"}}");
  EXPECT_EQ(CanonicalTemplate("{%"), "{%%}");
  EXPECT_EQ(CanonicalTemplate("{{ 'open"), "{{\"open\"}}");
}

}  // namespace
}  // namespace volery::text
