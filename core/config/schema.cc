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
#define DATA_KEY(member, type, range, words, help)                                                         \
  Key {                                                                                                    \
    "data.*." #member, KeyType::type,                                                                      \
        [](Recipe& recipe, size_t element) -> FieldRef { return &recipe.data.at(element).member; }, range, \
        words, help                                                                                        \
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
          "a model to start from: a Hugging Face folder, a GGUF file or a checkpoint (.pth) of RWKV or GoldFinch"),
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
      KEY(model.config, kOptions, NONE, NONE,
          "keys laid over the model's config.json, such as { time_state = true }; tensors that come with them and "
          "that its files don't have begin at 0"),
  };
}

std::vector<Key> PretrainKeys() {
  return {
      KEY(pretrain.context, kInteger, Within(1, 1 << 24), NONE, "tokens of a sequence"),
      KEY(pretrain.sequences, kInteger, Within(1, 1 << 20), NONE,
          "sequences of a step; trainer.tokens_per_microbatch says how many are computed at once"),
      KEY(pretrain.carry, kInteger, Within(1, 1 << 16), NONE,
          "recurrent models: contexts that follow one another in a sequence, each going on from the state "
          "of the one before; gradients end at their borders"),
      KEY(pretrain.order, kWord, NONE, WORDS("shuffled", "sequential", "magic_prime"),
          "in which sequences come: another permutation each epoch, as they lie, or as RWKV's trainers"),
      KEY(pretrain.documents, kWord, NONE, WORDS("joined", "apart"),
          "documents that share a sequence: read on across their border, or each on its own"),
      KEY(pretrain.magic_prime, kInteger, Within(0, 9e15), NONE,
          "of order = \"magic_prime\"; 0: the largest that fits"),
      KEY(pretrain.end_id, kInteger, Within(-1, 1 << 24), NONE,
          "token behind every document of text; -1: the tokenizer's end token"),
      KEY(pretrain.trainable, kTexts, NONE, NONE,
          "patterns of tensor names (* ? [...]); others stay as they are; []: all train"),
      KEY(pretrain.lr_scale, kOptions, NONE, NONE,
          "factors of the learning rate by patterns of tensor names, in place of the model's own, such as "
          "{ \"*.time_decay\" = 5.0 }; the longest pattern that matches counts"),
      KEY(pretrain.l2wrap, kNumber, Within(0, 1), NONE,
          "pulls each row's largest logit towards 0: this times the logit is added to its gradient, over "
          "the step's tokens (the papers' code: 1e-4)"),
      DATA_KEY(file, kPath, NONE, NONE, "text to learn from: plain text, .jsonl, .parquet, or .idx (binidx)"),
      DATA_KEY(format, kWord, NONE, WORDS("", "text", "jsonl", "parquet", "binidx"),
               "\"\": by the file's name"),
      DATA_KEY(column, kText, NONE, NONE,
               "of .jsonl and .parquet: where the text stands, or a list of token ids"),
      DATA_KEY(separator, kText, NONE, NONE,
               "of plain text: what stands between two documents; \"\": the file is one document"),
      DATA_KEY(labels, kText, NONE, NONE,
               "beside token ids: column with as many labels, -100 where no loss is asked for, else the id; "
               "\"\": all tokens count"),
      DATA_KEY(weight, kNumber, AboveUpTo(0, 1e9), NONE, "share of the sequences, beside the other [[data]]"),
      KEY(validation.every, kInteger, Count(0), NONE,
          "steps between two measurements; 0: only at the start and the end"),
      KEY(validation.sequences, kInteger, Count(0), NONE,
          "held-out sequences from the end of each [[data]], never trained on; with `file`: at most so many "
          "of it; 0: no validation"),
      KEY(validation.file, kPath, NONE, NONE, "text of its own"),
      KEY(validation.format, kWord, NONE, WORDS("", "text", "jsonl", "parquet", "binidx"),
          "of `file`; \"\": by its name"),
      KEY(validation.column, kText, NONE, NONE, "of `file`: where the text stands, or token ids"),
      KEY(validation.separator, kText, NONE, NONE, "of `file`, if it is plain text: between two documents"),
      KEY(validation.labels, kText, NONE, NONE, "of `file`: as data.labels"),
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
      KEY(rollout.cache, kWord, NONE, WORDS("auto", "full", "proto_keys", "compressed"),
          "what GoldFinch keeps of a past token; auto: full, or compressed where the slots don't fit kv_memory_mb"),
      KEY(rollout.memo_share, kNumber, Within(0, 0.9), NONE,
          "of kv_memory_mb, what GoldFinch's smaller caches may remember of token pairs, not to compute it each step"),
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
      KEY(trainer.optim.warmup_start, kNumber, Within(0, 1), NONE,
          "share of the rate in the first of them; 0: 1 / warmup_steps"),
      KEY(trainer.optim.schedule, kWord, NONE,
          WORDS("constant", "linear", "cosine", "exponential", "quarter_cosine", "one_minus_sqrt"),
          "of the rate after that, over all steps"),
      KEY(trainer.optim.hold_fraction, kNumber, Within(0, 0.999999), NONE,
          "share of all steps, after the warm-up, in which the rate stays before it falls"),
      KEY(trainer.optim.final_fraction, kNumber, Within(0, 1), NONE,
          "share of the rate at the end of the schedule"),
      KEY(trainer.optim.weight_decay, kNumber, AtLeast(0), NONE, "of matrices"),
      KEY(trainer.optim.final_weight_decay, kNumber, AtLeast(0), NONE,
          "where the weight decay goes, exponentially, while the rate falls; 0: it stays"),
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
#undef DATA_KEY
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
    for (auto keys : {RunKeys(), ModelKeys(), PretrainKeys(), TaskKeys(), RolloutKeys(), RewardKeys(),
                      AlgorithmKeys(), TrainerKeys(), OtherKeys()}) {
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
  return schema_path == "reward" || schema_path == "data";
}

std::string ElementPath(const std::string& schema_path, size_t element) {
  const size_t star = schema_path.find('*');
  if (star == std::string::npos) return schema_path;
  return schema_path.substr(0, star) + std::to_string(element) + schema_path.substr(star + 1);
}

size_t ListSize(const Recipe& recipe, std::string_view list) {
  VOLERY_CHECK(IsList(list));
  return list == "reward" ? recipe.reward.size() : recipe.data.size();
}

void ClearList(Recipe& recipe, std::string_view list) {
  VOLERY_CHECK(IsList(list));
  if (list == "reward") {
    recipe.reward.clear();
  } else {
    recipe.data.clear();
  }
}

void AddToList(Recipe& recipe, std::string_view list) {
  VOLERY_CHECK(IsList(list));
  if (list == "reward") {
    recipe.reward.emplace_back();
  } else {
    recipe.data.emplace_back();
  }
}

bool SectionApplies(std::string_view section, const Recipe& recipe) {
  const std::string_view top = section.substr(0, section.find('.'));
  const auto is_one_of = [top](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), top) != names.end();
  };
  if (is_one_of({"pretrain", "data", "validation"})) return recipe.pretrain.present;
  if (top == "warmup") return recipe.warmup.present && !recipe.pretrain.present;
  return !recipe.pretrain.present || !is_one_of({"tasks", "rollout", "reward", "algorithm", "eval"});
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
      return "a list of paths";
    case KeyType::kTexts:
      break;
  }
  return "a list of strings";
}

}  // namespace volery::config
