#include <gtest/gtest.h>

#include "core/config/load_recipe.h"

namespace volery::config {
namespace {

constexpr const char* kText = R"([model]
family = "llama"
width = 64
heads = 2
context = 64
tokenizer = "bytes"

[pretrain]
context = 64
trainable = ["model.layers.1.*", "lm_head.weight"]
lr_scale = { "*.weight" = 2.0, "lm_head.weight" = 5 }

[[data]]
file = "a.txt"
weight = 3
[[data]]
file = "b.idx"
)";

StatusOr<LoadedRecipe> ParseText(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return ParseRecipe({{"text.toml", "/recipes", text}}, overrides, "/here");
}

TEST(Pretrain, IsAKindOfRecipeThatReadsBack) {
  const StatusOr<LoadedRecipe> loaded = ParseText(kText, {"data.1.weight=0.5", "pretrain.sequences=2"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Recipe& recipe = loaded->recipe();
  EXPECT_TRUE(recipe.pretrain.present);
  ASSERT_EQ(recipe.data.size(), 2u);
  EXPECT_EQ(recipe.data[0].file, "/recipes/a.txt");
  EXPECT_EQ(recipe.data[1].weight, 0.5);
  EXPECT_EQ(recipe.pretrain.lr_scale.dump(), R"({"*.weight":2.0,"lm_head.weight":5})");
  EXPECT_EQ(recipe.pretrain.trainable, (std::vector<std::string>{"model.layers.1.*", "lm_head.weight"}));
  const StatusOr<LoadedRecipe> again =
      ParseRecipe({{"resolved.toml", "/elsewhere", loaded->ResolvedToml()}}, {}, "/elsewhere");
  ASSERT_TRUE(again.ok()) << again.status() << loaded->ResolvedToml();
  EXPECT_EQ(again->recipe(), recipe);
}

TEST(Pretrain, AllThatIsWrongComesAtOnce) {
  const std::string text = std::string(kText) + R"(separator = "\n"
[tasks]
generator = "reverse"
[validation]
every = 5
[trainer.optim]
schedule = "quarter_cosin"
)";
  EXPECT_EQ(
      Message(ParseText(text, {"pretrain.context=65", "data.2.file=c", "pretrain.magic_prime=7"}).status()),
      "text.toml:18:13: [data.1] separator: is for plain text, but the file counts as binidx\n"
      "text.toml:19:1: [tasks] is of `volery run`, and this is a recipe of pretraining; remove it\n"
      "text.toml:21:1: [validation] sequences: 0 measures nothing, but other keys of [validation] are set\n"
      "text.toml:24:12: [trainer.optim] schedule: \"quarter_cosin\" isn't known here; expected one of "
      "\"constant\", \"linear\", \"cosine\", \"exponential\", \"quarter_cosine\", \"one_minus_sqrt\"; did "
      "you "
      "mean \"quarter_cosine\"?\n"
      "command line: [pretrain] context: 65 is more than model.context = 64\n"
      "command line: [data] 2: no such [[data]] table; there are 2, numbers 0 to 1\n"
      "command line: [pretrain] magic_prime: is for order = \"magic_prime\"");
}

}  // namespace
}  // namespace volery::config
