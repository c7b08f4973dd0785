#include "core/config/load_recipe.h"

#include <gtest/gtest.h>

#include "core/base/files.h"

namespace volery::config {
namespace {

constexpr const char* kGood = R"(name = "quickstart"
seed = 7

[model]
path = "../models/m.gguf"

[tasks]
file = "data/questions.jsonl"
prompt = "question"

[rollout]
group_size = 4

[[reward]]
plugin = "format"
options = { words_column = "words" }

[[reward]]
plugin = "numeric_answer"
weight = 0.5
)";

StatusOr<LoadedRecipe> Parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return ParseRecipe({{"recipe.toml", "/recipes", text}}, overrides, "/here");
}

// The error of kGood with `more` behind it.
std::string ErrorWith(const std::string& more, const std::vector<std::string>& overrides = {}) {
  const StatusOr<LoadedRecipe> loaded = Parse(kGood + more, overrides);
  EXPECT_EQ(loaded.status().code(), StatusCode::kInvalidArgument);
  return Message(loaded.status());
}

std::string OverrideError(const std::string& word) {
  return ErrorWith("", {word});
}

TEST(LoadRecipe, ValuesAndDefaultsArriveInTheRecipe) {
  const StatusOr<LoadedRecipe> loaded = Parse(kGood);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Recipe& recipe = loaded->recipe();
  EXPECT_EQ(recipe.name, "quickstart");
  EXPECT_EQ(recipe.seed, 7);
  EXPECT_EQ(recipe.runs, "runs");
  EXPECT_EQ(recipe.rollout.group_size, 4);
  EXPECT_EQ(recipe.rollout.groups_per_step, 8);
  ASSERT_EQ(recipe.reward.size(), 2u);
  EXPECT_EQ(recipe.reward[0].options["words_column"], "words");
  EXPECT_EQ(recipe.reward[1].weight, 0.5);
  EXPECT_EQ(recipe.reward[1].timeout_ms, 10'000);
  EXPECT_FALSE(recipe.warmup.present);
}

TEST(LoadRecipe, PathsAreRelativeToWhereTheyAreWritten) {
  const Recipe recipe = Parse(kGood, {"eval.file=held.jsonl", "model.tokenizer=bytes", "runs=out",
                                      "plugins.path=lib", "reward.0.plugin=./mine.so"})
                            ->recipe();
  EXPECT_EQ(recipe.model.path, "/models/m.gguf");
  EXPECT_EQ(recipe.tasks.file, "/recipes/data/questions.jsonl");
  EXPECT_EQ(recipe.eval.file, "/here/held.jsonl");
  EXPECT_EQ(recipe.model.tokenizer, "bytes");
  EXPECT_EQ(recipe.runs, "out");
  EXPECT_EQ(recipe.plugins.path, std::vector<std::string>{"/here/lib"});
  EXPECT_EQ(recipe.reward[0].plugin, "/here/mine.so");
  EXPECT_EQ(recipe.reward[1].plugin, "numeric_answer");
}

TEST(LoadRecipe, TheNameDefaultsToTheFiles) {
  const std::string text = std::string(kGood).substr(std::string(kGood).find('\n') + 1);
  EXPECT_EQ(ParseRecipe({{"configs/reverse.toml", "/r", text}}, {}, "/")->recipe().name, "reverse");
}

TEST(Errors, UnknownKeysWithSuggestionPlaceAndSection) {
  EXPECT_EQ(
      ErrorWith("\n[trainer.optim]\n  leraning_rate = 1\n"),
      "recipe.toml:23:3: [trainer.optim] unknown key \"leraning_rate\"; did you mean \"learning_rate\"?");
  EXPECT_EQ(
      ErrorWith("\n[trainer]\noptim = { leraning_rate = 1 }\n"),
      "recipe.toml:23:11: [trainer.optim] unknown key \"leraning_rate\"; did you mean \"learning_rate\"?");
  EXPECT_EQ(ErrorWith("wieght = 2\n"),
            "recipe.toml:21:1: [reward.1] unknown key \"wieght\"; did you mean \"weight\"?");
  EXPECT_EQ(ErrorWith("\n[chekpoint]\nevery = 1\n"),
            "recipe.toml:22:2: unknown key \"chekpoint\"; did you mean \"checkpoint\"?");
  EXPECT_EQ(ErrorWith("\n[output]\nmax_grad_norm = 1\n"),
            "recipe.toml:23:1: [output] unknown key \"max_grad_norm\"; did you mean "
            "\"trainer.optim.max_grad_norm\"?");
  EXPECT_EQ(ErrorWith("\n[output]\nsomething = 1\n"),
            "recipe.toml:23:1: [output] unknown key \"something\"; known here: rollouts, tensorboard");
  EXPECT_EQ(ErrorWith("\n[output]\n\"trainer.dtype\" = \"float32\"\n").substr(0, 57),
            "recipe.toml:23:1: [output] unknown key \"trainer.dtype\"; k");
}

TEST(Errors, WrongTypes) {
  EXPECT_EQ(ErrorWith("\n[trainer.optim]\nlearning_rate = \"fast\"\n"),
            "recipe.toml:23:17: [trainer.optim] learning_rate: expected a number > 0 and <= 10, got the "
            "string \"fast\"");
  EXPECT_EQ(
      ErrorWith("\n[checkpoint]\nevery = 2.5\n"),
      "recipe.toml:23:9: [checkpoint] every: expected an integer >= 0 and <= 1000000000, got the number 2.5");
  EXPECT_EQ(ErrorWith("\n[output]\nrollouts = 1\n"),
            "recipe.toml:23:12: [output] rollouts: expected true or false, got the integer 1");
  EXPECT_EQ(ErrorWith("\n[eval]\nname = 2024-01-01\n"),
            "recipe.toml:23:8: [eval] name: expected a string, got a date or time");
  EXPECT_EQ(ErrorWith("\n[plugins]\npath = \"a\"\n"),
            "recipe.toml:23:8: [plugins] path: expected a list of paths, got the string \"a\"");
  EXPECT_EQ(ErrorWith("\n[plugins]\npath = [\"a\", 2]\n"),
            "recipe.toml:23:8: [plugins] path: expected a list of paths, got the integer 2 in the list");
  EXPECT_EQ(ErrorWith("options = 3\n"),
            "recipe.toml:21:11: [reward.1] options: expected a table, got the integer 3");
  EXPECT_EQ(Message(Parse("eval = 3\n" + std::string(kGood)).status()),
            "recipe.toml:1:8: eval: expected a table, got the integer 3");
  EXPECT_EQ(
      Message(
          Parse("[model]\npath = \"m\"\n[tasks]\nfile = \"f\"\n[reward]\nplugin = \"format\"\n").status()),
      "recipe.toml:5:1: reward: expected a list of tables, written [[reward]], got a table");
}

TEST(Errors, ValuesOutOfRange) {
  EXPECT_EQ(ErrorWith("\n[eval]\nsamples = 0\n"),
            "recipe.toml:23:11: [eval] samples: 0 is out of range; expected an integer >= 1 and <= 65536");
  EXPECT_EQ(ErrorWith("\n[warmup]\nuntil = 1.5\n"),
            "recipe.toml:23:9: [warmup] until: 1.5 is out of range; expected a number > 0 and <= 1");
  EXPECT_EQ(ErrorWith("timeout_ms = -1\n"),
            "recipe.toml:21:14: [reward.1] timeout_ms: -1 is out of range; expected an integer >= 1 and <= "
            "86400000");
  EXPECT_EQ(ErrorWith("\n[eval]\nsolved_at = nan\n"),
            "recipe.toml:23:13: [eval] solved_at: nan is no finite number; expected a number");
}

TEST(Errors, WordsThatAreNotKnown) {
  EXPECT_EQ(ErrorWith("\n[trainer]\ndtype = \"bfloat61\"\n"),
            "recipe.toml:23:9: [trainer] dtype: \"bfloat61\" isn't known here; expected one of \"float32\", "
            "\"bfloat16\", \"float64\"; "
            "did you mean \"bfloat16\"?");
  EXPECT_EQ(ErrorWith("\n[algorithm]\npreset = \"ppo_x\"\n"),
            "recipe.toml:23:10: [algorithm] preset: \"ppo_x\" isn't known here; expected one of \"grpo\", "
            "\"dr_grpo\", "
            "\"intellect2-code\", \"intellect2-paper\"");
}

TEST(Errors, TextThatIsNoTomlOrNoUtf8) {
  const std::string error = ErrorWith("\n[eval\nevery = 1\n");
  EXPECT_TRUE(error.starts_with("recipe.toml:22:6: not TOML: ")) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos);
  EXPECT_NE(OverrideError("name=\xff\xfe").find("is not UTF-8"), std::string::npos);
}

// These two reach defects of the TOML parser (see core/config/toml.h).
TEST(Errors, LettersBeyondAsciiOutsideOfQuotesAreNoToml) {
  for (const char* line : {"\xc3\xa4 = 1", "seed = \xc2\xa7", "x = 1 \xd0\xb6"}) {
    const std::string error = ErrorWith(std::string("\n") + line + "\n");
    EXPECT_TRUE(error.starts_with("recipe.toml:22:")) << error;
    EXPECT_NE(error.find(": not TOML: "), std::string::npos) << error;
  }
  const StatusOr<LoadedRecipe> system = Parse(
      "name = \"n\"\n[model]\npath = \"m\"\n[tasks]\nfile = \"f\"\nchat = true\n"
      "system = \"\"\"\\\n\xc3\xa4\"\"\"\n[[reward]]\nplugin = \"format\"\n");
  ASSERT_TRUE(system.ok()) << system.status();
  EXPECT_EQ(system->recipe().tasks.system, "\xc3\xa4");
}

TEST(Errors, HeadersWithTooManyBracketsAreNoToml) {
  for (const char* header : {"[[[1]]]", "[[[a]]", "[[=", "[[\x7freward]]"}) {
    const std::string error = ErrorWith(std::string("\n") + header + "\n");
    EXPECT_TRUE(error.starts_with("recipe.toml:22:")) << error;
    EXPECT_NE(error.find(": not TOML: "), std::string::npos) << error;
  }
}

TEST(Errors, AllAtOnceInTheOrderOfTheirPlaces) {
  EXPECT_EQ(
      Message(Parse("stepz = 1\n[rollout]\ntop_p = 2\ngroup_size = 1\n[eval]\nevery = \"x\"\n",
                    {"rollout.topk=3", "seed=-1"})
                  .status()),
      "recipe.toml:1:1: unknown key \"stepz\"; did you mean \"steps\"?\n"
      "recipe.toml:3:9: [rollout] top_p: 2 is out of range; expected a number > 0 and <= 1\n"
      "recipe.toml:4:14: [rollout] group_size: 1 gives every rollout advantage 0, since it is measured "
      "against its group; "
      "expected at least 2\n"
      "recipe.toml:6:9: [eval] every: expected an integer >= 0 and <= 1000000000, got the string \"x\"\n"
      "command line: [rollout] unknown key \"topk\"; did you mean \"top_k\"?\n"
      "command line: seed: -1 is out of range; expected an integer >= 0\n"
      "recipe: [model] no model: set path (a folder or GGUF file), or family for a model from scratch\n"
      "recipe: [tasks] no tasks: set file (JSON Lines or Parquet) or generator\n"
      "recipe: no [[reward]]: name at least one reward plugin, such as plugin = \"format\"");
}

TEST(Errors, BetweenKeys) {
  const std::string both = ErrorWith("", {"model.family=llama", "tasks.generator=reverse", "model.width=8"});
  EXPECT_EQ(both,
            "command line: [model] family: path is set too; keep path to start from a model, or family for "
            "one from scratch\n"
            "command line: [tasks] generator: file is set too; keep one of them");
  EXPECT_EQ(ErrorWith("", {"tasks.file=", "tasks.generator=reverse", "tasks.chat=true"}),
            "recipe.toml:9:10: [tasks] prompt: is for datasets, and the tasks come from a generator; remove it\n"
            "command line: [tasks] chat: is for datasets, and the tasks come from a generator; remove it");
  EXPECT_EQ(ErrorWith("", {"eval.file=x.jsonl", "eval.tasks=0"}),
            "command line: [eval] tasks: 0 evaluates nothing, but eval.file is set; remove one of them");
  EXPECT_EQ(OverrideError("model.width=8"),
            "command line: [model] width: is for models from scratch, but path is set; remove one of them");
  EXPECT_EQ(OverrideError("algorithm.clip_high=3.5"),
            "recipe: [algorithm] delta: 4 must be more than 1 + clip_high = 4.5, or 0 for none");
  EXPECT_EQ(
      OverrideError("model.context=32"),
      "command line: [model] context: 32 tokens leave no room for a prompt; rollout.max_new_tokens is 32");
  EXPECT_EQ(ErrorWith("", {"eval.tasks=0", "eval.every=2", "warmup.until=0.5"}),
            "command line: [eval] every: tasks = 0 holds out no task to evaluate on\n"
            "command line: [warmup] until: is measured on held-out tasks, and eval.tasks = 0 holds out none");
  EXPECT_EQ(OverrideError("device=gpu"),
            "command line: device: \"gpu\" isn't known; expected \"cpu\", \"cuda\" or \"cuda:<number>\"");
  EXPECT_EQ(OverrideError("name=a/b"),
            "command line: name: \"a/b\" can't name a run; use letters, digits, '_', '-' and '.', beginning "
            "with a letter or digit");
  EXPECT_EQ(OverrideError("reward.1.plugin="),
            "recipe.toml:18:1: [reward.1] plugin is missing: the name of a reward plugin or its file");
  EXPECT_EQ(ErrorWith("", {"reward.0.weight=0", "reward.1.weight=0"}),
            "command line: [reward.0] weight: all rewards have weight 0, so nothing can be learned");
  EXPECT_EQ(OverrideError("tasks.options.count=3"),
            "command line: [tasks] options: are the generator's, and no generator is set");
  EXPECT_EQ(OverrideError("tasks.system=Be brief"),
            "command line: [tasks] system: is for chat; set chat = true or messages");
}

TEST(Errors, BetweenKeysOfModelsFromScratch) {
  const std::string scratch =
      "[model]\nfamily = \"llama\"\nwidth = 60\nheads = 8\nkv_heads = 3\n[tasks]\ngenerator = \"reverse\"\n"
      "[[reward]]\nplugin = \"reverse_text\"\n";
  EXPECT_EQ(
      Message(Parse(scratch).status()),
      "recipe.toml:1:1: [model] tokenizer: a model from scratch brings none; set \"bytes\", \"characters\", "
      "\"world\" or a path\n"
      "recipe.toml:4:9: [model] heads: 8 doesn't divide width = 60; the size of a head is width / heads\n"
      "recipe.toml:5:12: [model] kv_heads: 3 doesn't divide heads = 8");
}

TEST(Errors, ARefusedValueIsNotAlsoMissing) {
  EXPECT_EQ(Message(Parse("[model]\npath = 3\n[tasks]\nfile = 4\n[[reward]]\nplugin = 5\n").status()),
            "recipe.toml:2:8: [model] path: expected a path, got the integer 3\n"
            "recipe.toml:4:8: [tasks] file: expected a path, got the integer 4\n"
            "recipe.toml:6:10: [reward.0] plugin: expected a name or a path, got the integer 5");
}

TEST(Overrides, ComeAfterFilesAndTheLastOneWins) {
  const Recipe recipe =
      ParseRecipe({{"a.toml", "/", kGood}, {"b.toml", "/", "seed = 8\n[rollout]\ntop_k = 5\n"}},
                  {"seed=9", "rollout.group_size=16", "seed=10"}, "/")
          ->recipe();
  EXPECT_EQ(recipe.seed, 10);
  EXPECT_EQ(recipe.rollout.group_size, 16);
  EXPECT_EQ(recipe.rollout.top_k, 5);
}

TEST(Overrides, ValuesAreTomlOrElseText) {
  const Recipe recipe = Parse(kGood, {"name=7", "trainer.optim.learning_rate=2e-5", "tasks.chat=true",
                                      "tasks.system=Answer, please: [x", "eval={every = 5, tasks = 9}",
                                      "tasks.prompt=\"the question\""})
                            ->recipe();
  EXPECT_EQ(recipe.name, "7");
  EXPECT_EQ(recipe.trainer.optim.learning_rate, 2e-5);
  EXPECT_EQ(recipe.tasks.system, "Answer, please: [x");
  EXPECT_EQ(recipe.eval.every, 5);
  EXPECT_EQ(recipe.eval.tasks, 9);
  EXPECT_EQ(recipe.tasks.prompt, "the question");
}

TEST(Overrides, TablesMergeAndListsReplace) {
  const char* other = "[[reward]]\nplugin = \"reverse_text\"\n[trainer.optim]\nbeta1 = 0.8\n";
  const StatusOr<LoadedRecipe> loaded =
      ParseRecipe({{"a.toml", "/",
                    std::string(kGood) + "[trainer.optim]\nbeta2 = 0.7\n[plugins]\npath = [\"x\", \"y\"]\n"},
                   {"b.toml", "/", other}},
                  {"plugins.path=[\"z\"]"}, "/");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Recipe& recipe = loaded->recipe();
  EXPECT_EQ(recipe.trainer.optim.beta1, 0.8);
  EXPECT_EQ(recipe.trainer.optim.beta2, 0.7);
  ASSERT_EQ(recipe.reward.size(), 1u);
  EXPECT_EQ(recipe.reward[0].plugin, "reverse_text");
  EXPECT_TRUE(recipe.reward[0].options.empty());
  EXPECT_EQ(recipe.plugins.path, std::vector<std::string>{"/z"});
  EXPECT_EQ(loaded->OriginOf("reward.1.weight").Text(), "b.toml:1");
}

TEST(Overrides, OfElementsAndOptionsInPlace) {
  const Recipe recipe = Parse(kGood, {"reward.0.weight=2", "reward.1.options.tolerance=1e-3",
                                      "reward.0.options.limits.low=1", "reward.0.options.tag=7"})
                            ->recipe();
  EXPECT_EQ(recipe.reward[0].weight, 2);
  EXPECT_EQ(recipe.reward[0].options,
            nlohmann::json::parse(R"({"words_column": "words", "limits": {"low": 1}, "tag": 7})"));
  EXPECT_EQ(recipe.reward[1].options["tolerance"], 1e-3);
  EXPECT_EQ(OverrideError("reward.2.weight=1"),
            "command line: [reward] 2: no such [[reward]] table; there are 2, numbers 0 to 1");
  EXPECT_EQ(OverrideError("reward.2.options.x=1"),
            "command line: [reward] 2: no such [[reward]] table; there are 2, numbers 0 to 1");
  EXPECT_EQ(OverrideError("reward.00.weight=1"),
            "command line: [reward] 00: no such [[reward]] table; there are 2, numbers 0 to 1");
  EXPECT_EQ(OverrideError("reward.weight=1"),
            "command line: [reward] weight: no such [[reward]] table; there are 2, numbers 0 to 1");
}

TEST(Overrides, WordsThatAreNone) {
  EXPECT_EQ(OverrideError("resume"),
            "command line: \"resume\" is no override; write key=value, such as rollout.group_size=4");
  EXPECT_EQ(OverrideError("=3"),
            "command line: \"=3\" is no override; write key=value, such as rollout.group_size=4");
  EXPECT_EQ(OverrideError("modle.path=x"), "command line: unknown key \"modle\"; did you mean \"model\"?");
  EXPECT_EQ(OverrideError("seed.x=1"), "command line: seed: has no key \"x\" in it: it is a single value");
  EXPECT_TRUE(OverrideError("rollout..top_k=1").starts_with("command line: [rollout] unknown key \"\"; "));
}

TEST(Presets, SetTheirTableAndEachKeyCanBeOverridden) {
  const AlgorithmRecipe grpo = Parse(kGood)->recipe().algorithm;
  EXPECT_EQ(grpo.advantage_epsilon, 1e-4);
  EXPECT_EQ(grpo.delta, 4);
  const AlgorithmRecipe dr = Parse(kGood, {"algorithm.preset=dr_grpo"})->recipe().algorithm;
  EXPECT_EQ(dr.advantage, "mean");
  EXPECT_EQ(dr.normaliser, "constant");
  EXPECT_EQ(dr.delta, 0);
  EXPECT_EQ(dr.optimiser_steps, 1);
  const AlgorithmRecipe code =
      Parse(std::string(kGood) + "[algorithm]\nclip_high = 0.28\npreset = \"intellect2-code\"\n")
          ->recipe()
          .algorithm;
  EXPECT_EQ(code.preset, "intellect2-code");
  EXPECT_EQ(code.clip_high, 0.28);
  EXPECT_EQ(code.denominator, "proximal");
  EXPECT_EQ(code.entropy, 1e-3);
  EXPECT_EQ(code.kl, 0);
  EXPECT_EQ(code.optimiser_steps, 8);
  EXPECT_EQ(code.advantage_epsilon, 1e-6);
  const AlgorithmRecipe paper =
      Parse(kGood, {"algorithm.kl=0.5", "algorithm={preset = \"intellect2-paper\"}"})->recipe().algorithm;
  EXPECT_EQ(paper.kl, 0.5);
  EXPECT_EQ(paper.entropy, 1e-4);
}

TEST(Origins, SayWhereEachValueComesFrom) {
  const StatusOr<LoadedRecipe> loaded = Parse(kGood, {"steps=3", "algorithm.preset=dr_grpo"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->OriginOf("runs").Text(), "default");
  EXPECT_EQ(loaded->OriginOf("steps").Text(), "command line");
  EXPECT_EQ(loaded->OriginOf("rollout.group_size").Text(), "recipe.toml:12");
  EXPECT_EQ(loaded->OriginOf("algorithm.delta").Text(), "preset dr_grpo");
  EXPECT_EQ(loaded->OriginOf("algorithm.preset").Text(), "command line");
  EXPECT_EQ(loaded->OriginOf("reward.0.options.words_column").Place(), "recipe.toml:16:28");
  EXPECT_EQ(loaded->OriginOf("reward.0.options.missing").Place(), "recipe.toml:16:11");
  EXPECT_EQ(loaded->ProblemAt("reward.0.options.words_column", "unknown option \"words_column\""),
            "recipe.toml:16:28: [reward.0.options] unknown option \"words_column\"");
}

TEST(Origins, TheListingNamesThemAll) {
  const std::string listing = Parse(kGood, {"steps=3"})->Listing();
  auto has_line = [&](const std::string& value, const std::string& origin) {
    const size_t at = listing.find("\n" + value + " ");
    const size_t end = listing.find('\n', at + 1);
    return at != std::string::npos && listing.substr(at, end - at).ends_with("  # " + origin);
  };
  EXPECT_TRUE(has_line("steps = 3", "command line")) << listing;
  EXPECT_TRUE(has_line("runs = \"runs\"", "default"));
  EXPECT_TRUE(has_line("reward.1.weight = 0.5", "recipe.toml:20"));
  EXPECT_TRUE(has_line("algorithm.clip_low = 0.2", "preset grpo"));
  EXPECT_EQ(listing.find("\nwarmup."), std::string::npos);
  const std::string mixed = Parse(kGood, {"reward.0.options.words_column=length"})->Listing();
  EXPECT_NE(mixed.find("options = { words_column = \"length\" }"), std::string::npos);
  EXPECT_NE(mixed.find("# recipe.toml:16, command line\n"), std::string::npos) << mixed;
}

TEST(ResolvedToml, ReadsBackToTheSameRecipeFromAnotherFolder) {
  for (const std::vector<std::string>& overrides : std::vector<std::vector<std::string>>{
           {},
           {"warmup.until=0.3", "algorithm.preset=intellect2-paper", "algorithm.kl=0",
            "plugins.path=[\"a b\", \"c\\\"d\"]"},
           {"reward.0.options.deep={ a = [1, 2.5, \"x\\ny\"], \"k.k\" = { b = true } }",
            "trainer.optim.learning_rate=3.3e-7", "tasks.chat=true",
            "tasks.system=\"tab\\t quote\\\" \\u0001 \\u00e4\"", "seed=9223372036854775807"}}) {
    const StatusOr<LoadedRecipe> loaded = Parse(kGood, overrides);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const StatusOr<LoadedRecipe> again =
        ParseRecipe({{"other.toml", "/elsewhere", loaded->ResolvedToml()}}, {}, "/elsewhere");
    ASSERT_TRUE(again.ok()) << again.status() << loaded->ResolvedToml();
    EXPECT_EQ(again->recipe(), loaded->recipe());
    EXPECT_EQ(again->ResolvedToml(), loaded->ResolvedToml());
  }
}

TEST(LoadRecipe, ReadsFilesAndNamesWhatDoesNotExist) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(base::MakeFolders(folder.File("configs/data")).ok());
  ASSERT_TRUE(base::MakeFolders(folder.File("models")).ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("configs/r.toml"), kGood).ok());
  const std::string file = folder.File("configs/r.toml");
  EXPECT_EQ(
      LoadRecipe({file}, {}).status(),
      InvalidError(file, ":5:8: [model] path: \"", folder.path(), "/models/m.gguf\" doesn't exist\n", file,
                   ":8:8: [tasks] file: \"", folder.path(), "/configs/data/questions.jsonl\" doesn't exist"));
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("models/m.gguf"), "x").ok());
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("configs/data/questions.jsonl"), "x").ok());
  const StatusOr<LoadedRecipe> loaded = LoadRecipe({file}, {"steps=2"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->recipe().steps, 2);
  const std::string missing = folder.File("none.toml");
  EXPECT_EQ(
      LoadRecipe({missing, file}, {"stepz=2"}).status(),
      InvalidError(missing, ": can't read the recipe: ", missing, ": can't open: No such file or directory\n",
                   "command line: unknown key \"stepz\"; did you mean \"steps\"?"));
}

TEST(LoadRecipe, TablesOfPretrainingAreRefused) {
  EXPECT_EQ(Message(Parse("validation = { sequences = 2 }\n" + std::string(kGood)).status()),
            "recipe.toml:1:14: [validation] is of `volery pretrain`; a recipe of it has [[data]]");
}

}  // namespace
}  // namespace volery::config
