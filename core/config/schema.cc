#include "core/config/schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/base/status.h"

namespace volery::config {
namespace {

constexpr int64_t kMany = 1'000'000'000;

Range AtLeast(double least) {
  return {least, std::numeric_limits<double>::infinity(), false};
}
Range Within(double least, double most) {
  return {least, most, false};
}
Range AboveUpTo(double least, double most) {
  return {least, most, true};
}
Range Count(int64_t least) {
  return Within(static_cast<double>(least), static_cast<double>(kMany));
}

// The path is the member's own name, so the two can't differ.
#define KEY(member, type, range, words, help)                                                            \
  Key {                                                                                                  \
#member, KeyType::type, [](Recipe & recipe, size_t) -> FieldRef { return &recipe.member; }, range,   \
                                                                                             words, help \
  }
#define REWARD_KEY(member, type, range, help)                                                                \
  Key {                                                                                                      \
    "reward.*." #member, KeyType::type,                                                                      \
        [](Recipe& recipe, size_t element) -> FieldRef { return &recipe.reward.at(element).member; }, range, \
        {}, help                                                                                             \
  }
#define WORDS(...)           \
  std::vector<std::string> { \
    __VA_ARGS__              \
  }
#define NONE \
  {}

std::vector<Key> RunKeys() {
  return {
      KEY(name, kText, NONE, NONE,
          "the run's name: its folder is <runs>/<name>; by default the recipe file's name"),
      KEY(runs, kText, NONE, NONE, "folder of all runs, relative to the working directory"),
      KEY(seed, kInteger, AtLeast(0), NONE, "keys every random number of the run"),
      KEY(steps, kInteger, Count(1), NONE, "trainer steps; each makes one weight version"),
      KEY(max_staleness, kInteger, Count(0), NONE,
          "how many versions behind a group may be sampled; 0 is exactly synchronous"),
      KEY(device, kText, NONE, NONE, "where models run: \"cpu\" or \"cuda[:n]\""),
  };
}

std::vector<Key> ModelKeys() {
  return {
      KEY(model.path, kPath, NONE, NONE,
          "a model to start from: a Hugging Face folder or a GGUF file"),
      KEY(model.family, kText, NONE, NONE,
          "a model from scratch, instead of `path`: qwen2, qwen3, llama ..."),
      KEY(model.layers, kInteger, Within(0, 1000), NONE, "from scratch: blocks; 0: the family's default"),
      KEY(model.width, kInteger, Within(0, 1 << 20), NONE,
          "from scratch: size of a hidden row; 0: the family's default"),
      KEY(model.heads, kInteger, Within(0, 4096), NONE,
          "from scratch: heads; their size is width / heads; 0: the family's default"),
      KEY(model.kv_heads, kInteger, Within(0, 4096), NONE,
          "from scratch: key-value heads, which divide `heads`; 0: as many as `heads`"),
      KEY(model.ffn_width, kInteger, Within(0, 1 << 24), NONE,
          "from scratch: inner size of the feed-forward part; 0: the family's default"),
      KEY(model.vocabulary, kInteger, Within(0, 1 << 24), NONE,
          "from scratch: rows of the embedding; 0: the tokenizer's size"),
      KEY(model.context, kInteger, Within(0, 1 << 24), NONE,
          "longest sequence in tokens; 0: the model's or the family's default"),
      KEY(model.tied, kBool, NONE, NONE, "from scratch: the output matrix is the embedding"),
      KEY(model.tokenizer, kPath, NONE, WORDS("bytes", "characters", "world"),
          "\"bytes\", \"characters\", \"world\" (RWKV World), a tokenizer.json, SentencePiece .model or World "
          ".txt, or a folder or GGUF that holds a tokenizer; \"\": the model's own"),
      KEY(model.characters, kText, NONE, NONE, "the alphabet, for tokenizer = \"characters\""),
      KEY(model.dtype, kWord, NONE, WORDS("float32", "bfloat16"), "number type of the sampler"),
      KEY(model.chat_template, kWord, NONE,
          WORDS("", "chatml", "smollm2", "qwen2.5", "qwen3", "llama3", "rwkv-world"),
          "how chat is written; \"\": recognised from the model's own template"),
  };
}

std::vector<Key> TaskKeys() {
  return {
      KEY(tasks.file, kPath, NONE, NONE,
          "dataset: JSON Lines or Parquet, one task a row; all columns reach the rewards"),
      KEY(tasks.generator, kWord, NONE, WORDS("", "reverse"), "seeded tasks, instead of `file`"),
      KEY(tasks.options, kOptions, NONE, NONE, "of the generator"),
      KEY(tasks.prompt, kText, NONE, NONE, "column with the prompt"),
      KEY(tasks.messages, kText, NONE, NONE,
          "column with chat messages (role, content), instead of `prompt`"),
      KEY(tasks.answer, kText, NONE, NONE,
          "column with the reference answer; \"\": \"answer\", where there is one"),
      KEY(tasks.id, kText, NONE, NONE, "column with the task's id; \"\": \"id\", where there is one"),
      KEY(tasks.type, kText, NONE, NONE,
          "column with the task's type; \"\": \"task_type\", where there is one"),
      KEY(tasks.chat, kBool, NONE, NONE, "the prompt is what a user says: write it as chat"),
      KEY(tasks.system, kText, NONE, NONE, "system message in front of the chat; \"\": none of our own"),
      KEY(tasks.max_prompt_tokens, kInteger, Count(0), NONE,
          "a longer prompt is an error; 0: only the context bounds it"),
  };
}

std::vector<Key> RolloutKeys() {
  return {
      KEY(rollout.groups_per_step, kInteger, Within(1, (1 << 24) - 1), NONE,
          "groups (tasks) that a step trains on"),
      KEY(rollout.group_size, kInteger, Within(1, 65536), NONE, "rollouts of one task"),
      KEY(rollout.max_new_tokens, kInteger, Within(1, 1 << 24), NONE, "tokens that a rollout may sample"),
      KEY(rollout.temperature, kNumber, AboveUpTo(0, 100), NONE,
          "of sampling, and of the log-probs in the loss"),
      KEY(rollout.top_p, kNumber, AboveUpTo(0, 1), NONE,
          "keeps the most likely tokens up to this much probability; 1: off"),
      KEY(rollout.top_k, kInteger, Count(0), NONE, "keeps the k most likely tokens; 0: off"),
      KEY(rollout.min_p, kNumber, Within(0, 1), NONE,
          "drops tokens below this share of the likeliest one's probability; 0: off"),
      KEY(rollout.on_update, kWord, NONE, WORDS("keep", "reread"),
          "new weights in flight: keep the decode state, or read it again"),
      KEY(rollout.slots, kInteger, Within(0, 1 << 20), NONE,
          "sequences decoded at once, as far as kv_memory_mb holds them; 0: a step's, at most 256"),
      KEY(rollout.kv_memory_mb, kInteger, Within(0, 1 << 24), NONE,
          "budget of decode states in MiB; 0: a quarter of the machine's memory"),
      KEY(rollout.prefill_tokens, kInteger, Within(1, 1 << 24), NONE,
          "prompt tokens read between two decoded tokens, over all sequences"),
  };
}

std::vector<Key> RewardKeys() {
  return {
      REWARD_KEY(plugin, kFilename, NONE, "name of a reward plugin, or its file (with a /)"),
      REWARD_KEY(weight, kNumber, NONE, "the reward of a rollout is the sum of weight x score"),
      REWARD_KEY(options, kOptions, NONE, "of the plugin; `volery plugins list` prints what it takes"),
      REWARD_KEY(timeout_ms, kInteger, Within(1, 86'400'000), "longest time for one sample"),
      REWARD_KEY(isolate, kBool, NONE,
                 "run it in a child process, also where the plugin doesn't ask for that"),
  };
}

std::vector<Key> AlgorithmKeys() {
  return {
      KEY(algorithm.preset, kWord, NONE, WORDS("grpo", "dr_grpo", "intellect2-code", "intellect2-paper"),
          "sets the other keys of this table; each can be overridden"),
      KEY(algorithm.advantage, kWord, NONE, WORDS("mean_std", "mean", "leave_one_out"),
          "(r - mean) / (std + advantage_epsilon); r - mean; r - mean of the others"),
      KEY(algorithm.advantage_epsilon, kNumber, Within(0, 1), NONE, "added to the standard deviation"),
      KEY(algorithm.denominator, kWord, NONE, WORDS("behaviour", "proximal"),
          "policy below the ratio: the one that sampled, or the trainer's at the start of the step"),
      KEY(algorithm.ratio_level, kWord, NONE, WORDS("token", "sequence"),
          "one ratio a token, or one a sequence"),
      KEY(algorithm.normaliser, kWord, NONE, WORDS("tokens", "sequences", "constant"),
          "loss per token, per sequence's mean, or per sequences x max_new_tokens"),
      KEY(algorithm.kl, kNumber, AtLeast(0), NONE,
          "weight of the KL term to the first weights; 0: none, and no copy of them"),
      KEY(algorithm.kl_estimator, kWord, NONE, WORDS("k1", "k2", "k3"), "of the KL term"),
      KEY(algorithm.entropy, kNumber, AtLeast(0), NONE, "weight of the entropy bonus"),
      KEY(algorithm.clip_low, kNumber, Within(0, 1), NONE, "the ratio is clipped below 1 - clip_low"),
      KEY(algorithm.clip_high, kNumber, AtLeast(0), NONE, "the ratio is clipped above 1 + clip_high"),
      KEY(algorithm.delta, kNumber, AtLeast(0), NONE,
          "bound of the ratio where the advantage is negative; 0: none"),
      KEY(algorithm.quadratic, kNumber, AtLeast(0), NONE, "weight of the squared log-ratio"),
      KEY(algorithm.optimiser_steps, kInteger, Within(1, 1024), NONE,
          "optimiser steps on one batch; together they make one version"),
      KEY(algorithm.max_refill, kInteger, Within(0, 250), NONE,
          "rounds in which groups without signal are replaced"),
  };
}

std::vector<Key> TrainerKeys() {
  return {
      KEY(trainer.dtype, kWord, NONE, WORDS("float32", "bfloat16", "float64"),
          "number type of the trainer's products; master weights are float32 or float64"),
      KEY(trainer.tokens_per_microbatch, kInteger, Within(1, 1 << 28), NONE,
          "tokens computed at once; a longer sequence goes alone"),
      KEY(trainer.share_prompts, kBool, NONE, NONE, "compute a group's prompt once a micro-batch"),
      KEY(trainer.checkpoint_activations, kBool, NONE, NONE,
          "keep the inputs of blocks only and compute blocks again on the way back"),
      KEY(trainer.head_slice_tokens, kInteger, Count(0), NONE,
          "rows of logits that stand in memory at once; 0: chosen"),
      KEY(trainer.max_skipped, kInteger, Count(1), NONE, "this many skipped steps in a row end the run"),
      KEY(trainer.optim.learning_rate, kNumber, AboveUpTo(0, 10), NONE, "of AdamW"),
      KEY(trainer.optim.warmup_steps, kInteger, Count(0), NONE,
          "optimiser steps in which the rate rises to it"),
      KEY(trainer.optim.schedule, kWord, NONE, WORDS("constant", "linear", "cosine"),
          "of the rate after that, over all steps"),
      KEY(trainer.optim.final_fraction, kNumber, Within(0, 1), NONE,
          "share of the rate at the end of a linear or cosine schedule"),
      KEY(trainer.optim.weight_decay, kNumber, AtLeast(0), NONE, "of matrices"),
      KEY(trainer.optim.beta1, kNumber, Within(0, 0.999999), NONE, "of AdamW"),
      KEY(trainer.optim.beta2, kNumber, Within(0, 0.9999999), NONE, "of AdamW"),
      KEY(trainer.optim.epsilon, kNumber, AboveUpTo(0, 1), NONE, "of AdamW"),
      KEY(trainer.optim.max_grad_norm, kNumber, AtLeast(0), NONE,
          "gradients are scaled down to this norm; 0: not"),
  };
}

std::vector<Key> OtherKeys() {
  return {
      KEY(warmup.until, kNumber, AboveUpTo(0, 1), NONE,
          "ends the supervised steps: held-out sampled success rate"),
      KEY(warmup.max_steps, kInteger, Count(1), NONE,
          "supervised steps at most; then RL begins with a warning"),
      KEY(warmup.batch, kInteger, Within(1, 1 << 20), NONE, "examples a step"),
      KEY(warmup.learning_rate, kNumber, AboveUpTo(0, 10), NONE, "of the supervised steps"),
      KEY(warmup.every, kInteger, Count(1), NONE, "measure the success rate after this many steps"),
      KEY(checkpoint.every, kInteger, Count(0), NONE, "steps between checkpoints; 0: only at the end"),
      KEY(checkpoint.keep, kInteger, Count(1), NONE, "checkpoints that stay"),
      KEY(eval.name, kText, NONE, NONE, "of the metrics eval/<name>/..."),
      KEY(eval.every, kInteger, Count(0), NONE,
          "steps between evaluations; 0: only at the start and the end"),
      KEY(eval.tasks, kInteger, Count(0), NONE,
          "held-out tasks, chosen by the seed and never trained on; with `file`: at most so many of its "
          "rows; 0: no evaluation"),
      KEY(eval.file, kPath, NONE, NONE, "a dataset of its own, with the columns of [tasks]"),
      KEY(eval.samples, kInteger, Within(1, 65536), NONE, "samples a task: k of avg@k and pass@k"),
      KEY(eval.temperature, kNumber, Within(0, 100), NONE, "of evaluation; 0: greedy"),
      KEY(eval.solved_at, kNumber, NONE, NONE, "a sample with at least this reward counts as solved"),
      KEY(eval.examples, kInteger, Within(0, 1000), NONE, "answers that are printed"),
      KEY(eval.constant_answer, kBool, NONE, NONE,
          "at the end, score the best constant answer over the held-out tasks"),
      KEY(threads.sampler, kInteger, Within(0, 1024), NONE, "cores of the sampler; 0: chosen"),
      KEY(threads.trainer, kInteger, Within(0, 1024), NONE, "cores of the trainer; 0: chosen"),
      KEY(threads.rewards, kInteger, Within(0, 1024), NONE, "threads that call rewards; 0: chosen"),
      KEY(threads.watchdog_seconds, kInteger, Within(0, 86'400), NONE,
          "say who waits for what when nothing has moved for so long; 0: never"),
      KEY(plugins.path, kPaths, NONE, NONE, "folders in which plugins are looked for first"),
      KEY(output.rollouts, kBool, NONE, NONE, "write each step's rollouts (Parquet)"),
      KEY(output.tensorboard, kBool, NONE, NONE, "write TensorBoard event files"),
  };
}

#undef KEY
#undef REWARD_KEY
#undef WORDS
#undef NONE

std::string ParentOf(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? "" : std::string(path.substr(0, dot));
}

struct Index {
  std::map<std::string, const Key*, std::less<>> keys;
  std::vector<std::string> sections;                                   // in order
  std::map<std::string, std::vector<std::string>, std::less<>> names;  // section -> names in it

  Index() {
    AddSection("");
    for (const Key& key : Schema()) {
      keys[key.path] = &key;
      AddSection(key.section());
      names[key.section()].push_back(key.name());
    }
  }

  void AddSection(const std::string& section) {
    if (names.contains(section)) return;
    if (!section.empty()) {
      const std::string parent = ParentOf(section);
      AddSection(parent);
      names[parent].push_back(section.substr(parent.empty() ? 0 : parent.size() + 1));
    }
    names[section];
    if (!IsList(section)) sections.push_back(section);
  }
};

const Index& TheIndex() {
  static const Index index;
  return index;
}

// Whole numbers with all their digits.
std::string Plain(double value) {
  return value == std::floor(value) ? Cat(static_cast<int64_t>(value)) : Cat(value);
}

std::string QuotedList(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += Cat(out.empty() ? "" : ", ", '"', word, '"');
  return out;
}

}  // namespace

bool Range::Holds(double value) const {
  return std::isfinite(value) && (above ? value > least : value >= least) && value <= most;
}

std::string Range::Text() const {
  std::string text;
  if (std::isfinite(least)) text = Cat(above ? "> " : ">= ", Plain(least));
  if (std::isfinite(most)) text += Cat(text.empty() ? "" : " and ", "<= ", Plain(most));
  return text;
}

std::string Key::name() const {
  return path.substr(path.rfind('.') + 1);
}
std::string Key::section() const {
  return ParentOf(path);
}

const std::vector<Key>& Schema() {
  static const std::vector<Key> schema = [] {
    std::vector<Key> all;
    for (auto keys : {RunKeys(), ModelKeys(), TaskKeys(), RolloutKeys(), RewardKeys(), AlgorithmKeys(),
                      TrainerKeys(), OtherKeys()}) {
      all.insert(all.end(), keys.begin(), keys.end());
    }
    return all;
  }();
  return schema;
}

const Key* FindKey(std::string_view schema_path) {
  const auto found = TheIndex().keys.find(schema_path);
  return found == TheIndex().keys.end() ? nullptr : found->second;
}

bool IsSection(std::string_view schema_path) {
  return TheIndex().names.contains(schema_path) && !IsList(schema_path);
}
bool IsList(std::string_view schema_path) {
  return schema_path == "reward";
}

std::vector<std::string> NamesIn(std::string_view section) {
  const auto found = TheIndex().names.find(section);
  return found == TheIndex().names.end() ? std::vector<std::string>() : found->second;
}

const std::vector<std::string>& Sections() {
  return TheIndex().sections;
}

std::string Expected(const Key& key) {
  const std::string range = key.range.Text();
  switch (key.type) {
    case KeyType::kText:
      return "a string";
    case KeyType::kWord:
      return "one of " + QuotedList(key.words);
    case KeyType::kPath:
      return key.words.empty() ? "a path" : QuotedList(key.words) + " or a path";
    case KeyType::kFilename:
      return "a name or a path";
    case KeyType::kInteger:
      return range.empty() ? "an integer" : "an integer " + range;
    case KeyType::kNumber:
      return range.empty() ? "a number" : "a number " + range;
    case KeyType::kBool:
      return "true or false";
    case KeyType::kOptions:
      return "a table";
    case KeyType::kPaths:
      break;
  }
  return "a list of paths";
}

}  // namespace volery::config
