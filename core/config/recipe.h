#pragma once
// Recipe: what a run is made of, as plain data. Members carry the names of the recipe's keys and hold their
// defaults; types, ranges, help and everything else about a key stand in schema.cc. Paths are absolute after
// loading, except `runs`.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace volery::config {

struct ModelRecipe {
  std::string path;
  std::string family;
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, ffn_width = 0, vocabulary = 0, context = 0;
  bool tied = true;
  std::string tokenizer, characters;
  std::string dtype = "float32";
  std::string chat_template;
  nlohmann::json config = nlohmann::json::object();
  bool operator==(const ModelRecipe&) const = default;
};

struct TasksRecipe {
  std::string file, generator;
  nlohmann::json options = nlohmann::json::object();
  std::string prompt = "prompt", messages, answer, id, type;
  bool chat = false;
  std::string system;
  int64_t max_prompt_tokens = 0;
  bool operator==(const TasksRecipe&) const = default;
};

struct RolloutRecipe {
  int64_t groups_per_step = 8, group_size = 8, max_new_tokens = 32;
  double temperature = 1, top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  std::string on_update = "keep", cache = "auto";
  double memo_share = 0.25;
  int64_t slots = 0, kv_memory_mb = 0, prefill_tokens = 512;
  bool operator==(const RolloutRecipe&) const = default;
};

struct RewardRecipe {
  std::string plugin;
  double weight = 1;
  nlohmann::json options = nlohmann::json::object();
  int64_t timeout_ms = 10'000;
  bool isolate = false;
  bool operator==(const RewardRecipe&) const = default;
};

// The defaults here are those of preset "grpo" (presets.h).
struct AlgorithmRecipe {
  std::string preset = "grpo";
  std::string advantage = "mean_std";
  double advantage_epsilon = 1e-4;
  std::string denominator = "behaviour", ratio_level = "token", normaliser = "tokens";
  double kl = 0;
  std::string kl_estimator = "k3";
  double entropy = 0, clip_low = 0.2, clip_high = 0.2, delta = 4, quadratic = 0;
  int64_t optimiser_steps = 1, max_refill = 3;
  bool operator==(const AlgorithmRecipe&) const = default;
};

struct OptimRecipe {
  double learning_rate = 1e-6;
  int64_t warmup_steps = 0;
  std::string schedule = "constant";
  double warmup_start = 0, hold_fraction = 0, final_fraction = 0, weight_decay = 0.01, final_weight_decay = 0,
         beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, max_grad_norm = 1;
  bool operator==(const OptimRecipe&) const = default;
};

struct TrainerRecipe {
  std::string dtype = "float32";
  int64_t tokens_per_microbatch = 512;
  bool share_prompts = true, checkpoint_activations = false;
  int64_t head_slice_tokens = 0, max_skipped = 10;
  OptimRecipe optim;
  bool operator==(const TrainerRecipe&) const = default;
};

struct WarmupRecipe {
  bool present = false;  // not a key: whether the recipe has a [warmup] table
  double until = 0.2;
  int64_t max_steps = 2000, batch = 64;
  double learning_rate = 1e-3;
  int64_t every = 25;
  bool operator==(const WarmupRecipe&) const = default;
};

// Next-token training; a recipe with [pretrain] or [[data]] is one of `volery pretrain`.
struct PretrainRecipe {
  bool present = false;  // not a key: whether the recipe is one of pretraining
  int64_t context = 512, sequences = 8, carry = 1;
  std::string order = "shuffled", documents = "joined";
  int64_t magic_prime = 0, end_id = -1;
  std::vector<std::string> trainable;
  nlohmann::json lr_scale = nlohmann::json::object();
  double l2wrap = 0;
  bool operator==(const PretrainRecipe&) const = default;
};

struct DataRecipe {
  std::string file, format, column = "text", separator, labels;
  double weight = 1;
  bool operator==(const DataRecipe&) const = default;
};

struct ValidationRecipe {
  int64_t every = 0, sequences = 0;
  std::string file, format, column = "text", separator, labels;
  bool operator==(const ValidationRecipe&) const = default;
};

struct CheckpointRecipe {
  int64_t every = 50, keep = 2;
  bool operator==(const CheckpointRecipe&) const = default;
};

struct EvalRecipe {
  std::string name = "held_out";
  int64_t every = 0, tasks = 64;
  std::string file;
  int64_t samples = 1;
  double temperature = 1, solved_at = 1;
  int64_t examples = 4;
  bool constant_answer = false;
  bool operator==(const EvalRecipe&) const = default;
};

struct ThreadsRecipe {
  int64_t sampler = 0, trainer = 0, rewards = 0, watchdog_seconds = 60;
  bool operator==(const ThreadsRecipe&) const = default;
};

struct PluginsRecipe {
  std::vector<std::string> path;
  bool operator==(const PluginsRecipe&) const = default;
};

struct OutputRecipe {
  bool rollouts = true, tensorboard = true;
  bool operator==(const OutputRecipe&) const = default;
};

struct Recipe {
  std::string name, runs = "runs";
  int64_t seed = 0, steps = 100, max_staleness = 1;
  std::string device = "cpu";
  ModelRecipe model;
  PretrainRecipe pretrain;
  std::vector<DataRecipe> data;
  ValidationRecipe validation;
  TasksRecipe tasks;
  RolloutRecipe rollout;
  std::vector<RewardRecipe> reward;
  AlgorithmRecipe algorithm;
  TrainerRecipe trainer;
  WarmupRecipe warmup;
  CheckpointRecipe checkpoint;
  EvalRecipe eval;
  ThreadsRecipe threads;
  PluginsRecipe plugins;
  OutputRecipe output;
  bool operator==(const Recipe&) const = default;
};

}  // namespace volery::config
