#include "app/mapping.h"

#include <ATen/Context.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace volery::app {
namespace {

constexpr int64_t kMostDefaultSlots = 256;
constexpr int64_t kMebibyte = int64_t{1} << 20;

int64_t PhysicalMemoryBytes() { return static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE); }

int CoresOr(int64_t wanted) {
  return wanted > 0 ? static_cast<int>(wanted) : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

StatusOr<c10::ScalarType> ParseDtype(const std::string& word) {
  if (word == "float32") return c10::ScalarType::Float;
  if (word == "bfloat16") return c10::ScalarType::BFloat16;
  if (word == "float64") return c10::ScalarType::Double;
  return InvalidError("dtype \"", word, "\" is not one of float32, bfloat16, float64");
}

StatusOr<c10::Device> ParseDevice(const std::string& word) {
  try {
    const c10::Device device(word);
    if (device.is_cpu()) return device;
    if (!device.is_cuda()) return InvalidError("device \"", word, "\" is not supported; use cpu, cuda or cuda:N");
    if (!at::hasCUDA()) return InvalidError("device \"", word, "\": this build of LibTorch finds no CUDA device; use device = \"cpu\"");
    const int64_t devices = at::detail::getCUDAHooks().deviceCount();
    if (device.index() >= devices) return InvalidError("device \"", word, "\": there are ", devices, " CUDA devices, counted from 0");
    return device;
  } catch (const std::exception&) {
    return InvalidError("device \"", word, "\" is not a device; use cpu, cuda or cuda:N");
  }
}

int SamplerThreads(const config::Recipe& recipe) { return CoresOr(recipe.threads.sampler); }
int TrainerThreads(const config::Recipe& recipe) { return CoresOr(recipe.threads.trainer); }

data::SamplingParams TrainingSampling(const config::Recipe& recipe, const SampleStops& stops) {
  const config::RolloutRecipe& r = recipe.rollout;
  data::SamplingParams params;
  params.temperature = static_cast<float>(r.temperature);
  params.top_p = static_cast<float>(r.top_p);
  params.min_p = static_cast<float>(r.min_p);
  params.top_k = static_cast<int32_t>(r.top_k);
  params.max_new_tokens = static_cast<int32_t>(r.max_new_tokens);
  params.stop_ids = stops.ids;
  params.stop_rules = stops.rules;
  params.seed = static_cast<uint64_t>(recipe.seed);
  return params;
}

StatusOr<inference::EngineOptions> MakeEngineOptions(const config::Recipe& recipe, int64_t vocabulary) {
  inference::EngineOptions options;
  options.vocabulary = vocabulary;
  VOLERY_ASSIGN_OR_RETURN(options.dtype, ParseDtype(recipe.model.dtype));
  const int64_t step_rollouts = recipe.rollout.groups_per_step * recipe.rollout.group_size;
  options.max_slots = recipe.rollout.slots > 0 ? recipe.rollout.slots : std::min(step_rollouts, kMostDefaultSlots);
  options.state_bytes = recipe.rollout.kv_memory_mb > 0 ? recipe.rollout.kv_memory_mb * kMebibyte : PhysicalMemoryBytes() / 4;
  options.prefill_tokens = recipe.rollout.prefill_tokens;
  options.context = recipe.model.context;
  return options;
}

StatusOr<training::AlgorithmOptions> MakeAlgorithm(const config::Recipe& recipe) {
  const config::AlgorithmRecipe& a = recipe.algorithm;
  training::AlgorithmOptions options;
  options.preset = a.preset;
  VOLERY_ASSIGN_OR_RETURN(options.advantage.kind, training::ParseAdvantageKind(a.advantage));
  options.advantage.epsilon = a.advantage_epsilon;
  training::LossSpec& loss = options.loss;
  VOLERY_ASSIGN_OR_RETURN(loss.denominator, training::ParseDenominator(a.denominator));
  VOLERY_ASSIGN_OR_RETURN(loss.ratio_level, training::ParseRatioLevel(a.ratio_level));
  VOLERY_ASSIGN_OR_RETURN(loss.normaliser, training::ParseNormaliser(a.normaliser));
  VOLERY_ASSIGN_OR_RETURN(loss.kl_estimator, training::ParseKlEstimator(a.kl_estimator));
  loss.constant = static_cast<double>(recipe.rollout.max_new_tokens);
  loss.clip_low = a.clip_low;
  loss.clip_high = a.clip_high;
  loss.delta = a.delta;
  loss.kl = a.kl;
  loss.entropy = a.entropy;
  loss.quadratic = a.quadratic;
  options.optimiser_steps = static_cast<int>(a.optimiser_steps);
  options.max_refill = static_cast<int>(a.max_refill);
  VOLERY_RETURN_IF_ERROR(training::CheckAlgorithm(options));
  return options;
}

StatusOr<training::TrainerOptions> MakeTrainerOptions(const config::Recipe& recipe) {
  const config::TrainerRecipe& t = recipe.trainer;
  training::TrainerOptions options;
  training::OptimiserOptions& optim = options.optim;
  optim.schedule.learning_rate = t.optim.learning_rate;
  optim.schedule.warmup_steps = t.optim.warmup_steps;
  VOLERY_ASSIGN_OR_RETURN(optim.schedule.decay, training::ParseDecay(t.optim.schedule));
  const int64_t optimiser_steps = recipe.pretrain.present ? 1 : recipe.algorithm.optimiser_steps;
  optim.schedule.hold_steps = static_cast<int64_t>(t.optim.hold_fraction * static_cast<double>(recipe.steps * optimiser_steps));
  // A run that is cut short (steps=5 on the command line) may end within the warm-up.
  optim.schedule.total_steps = std::max(recipe.steps * optimiser_steps, t.optim.warmup_steps + optim.schedule.hold_steps + 1);
  optim.schedule.final_fraction = t.optim.final_fraction;
  optim.schedule.warmup_start = t.optim.warmup_start;
  optim.schedule.final_weight_decay = t.optim.final_weight_decay;
  optim.adam.beta1 = t.optim.beta1;
  optim.adam.beta2 = t.optim.beta2;
  optim.adam.epsilon = t.optim.epsilon;
  optim.adam.weight_decay = t.optim.weight_decay;
  optim.max_grad_norm = t.optim.max_grad_norm;
  options.supervised = optim;
  options.supervised.schedule.decay = training::Decay::kConstant;
  if (recipe.warmup.present) options.supervised.schedule.learning_rate = recipe.warmup.learning_rate;
  options.micro_batch_tokens = t.tokens_per_microbatch;
  options.share_prompts = t.share_prompts;
  options.checkpoint_activations = t.checkpoint_activations;
  options.head_rows = t.head_slice_tokens;
  VOLERY_RETURN_IF_ERROR(training::CheckSchedule(optim.schedule));
  VOLERY_ASSIGN_OR_RETURN(options.dtype, ParseDtype(t.dtype));
  VOLERY_ASSIGN_OR_RETURN(options.device, ParseDevice(recipe.device));
  return options;
}

orchestration::LoopOptions MakeLoopOptions(const config::Recipe& recipe, const SampleStops& stops) {
  orchestration::LoopOptions options;
  options.steps = recipe.steps;
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.rollout.groups_per_step = recipe.rollout.groups_per_step;
  options.rollout.group_size = static_cast<int32_t>(recipe.rollout.group_size);
  options.rollout.max_refill = static_cast<int>(recipe.algorithm.max_refill);
  options.rollout.max_staleness = recipe.max_staleness;
  options.rollout.sampling = TrainingSampling(recipe, stops);
  options.max_skipped = recipe.trainer.max_skipped;
  options.reward_threads = recipe.threads.rewards > 0 ? static_cast<int>(recipe.threads.rewards) : 2;
  options.checkpoint_every = recipe.checkpoint.every;
  options.eval.name = recipe.eval.name;
  options.eval.every = recipe.eval.every;
  options.eval.samples = static_cast<int32_t>(recipe.eval.samples);
  options.eval.solved_at = recipe.eval.solved_at;
  options.eval.examples = recipe.eval.examples;
  options.eval.sampling = options.rollout.sampling;
  options.eval.sampling.temperature = static_cast<float>(recipe.eval.temperature);
  if (recipe.warmup.present) {
    options.warmup = {recipe.warmup.until, recipe.warmup.max_steps, recipe.warmup.batch, recipe.warmup.every};
  }
  return options;
}

}  // namespace volery::app
