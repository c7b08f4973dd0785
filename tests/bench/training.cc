// GRPO steps and plain training, as the peers' scripts run them. One JSON line on standard output.
//
//   bench_training MODEL float32|bfloat16 grpo NEW [MICRO-BATCH TOKENS] [STEPS]   8 prompts of 40 tokens x 8
//   completions of
//                                                             NEW tokens: samples, trains, publishes; the
//                                                             last step counts
//   bench_training MODEL float32|bfloat16 packed [MICRO-BATCH TOKENS]    64 sequences of 16 to 512 tokens,
//   loss over all

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>

#include "core/base/memory.h"
#include "core/distributed/single_comm.h"
#include "core/inference/engine.h"
#include "core/inference/generate.h"
#include "core/policy/families.h"
#include "core/policy/model_source.h"
#include "core/tensor/threads.h"
#include "core/training/trainer.h"
#include "tests/bench/bench.h"

namespace volery::bench {
namespace {

constexpr int64_t kPrompts = 8, kSamples = 8, kPromptTokens = 40;

double PeakGib() {
  return static_cast<double>(base::PeakMemoryBytes()) / (1 << 30);
}

struct Rig {
  policy::ModelSource source;
  std::unique_ptr<distributed::Comm> comm = std::make_unique<distributed::SingleComm>();
  std::unique_ptr<training::LocalTrainer> trainer;

  Rig(const std::string& path, at::ScalarType dtype, int64_t micro_batch_tokens) {
    tensor::SetComputeThreads(kThreads);
    const plugin::PluginHost host;
    policy::OpenOptions open;
    source = Must(policy::OpenModel(path, policy::FamiliesOf(host), open));
    training::TrainerSetup setup;
    setup.options.dtype = dtype;
    setup.options.micro_batch_tokens = micro_batch_tokens;
    setup.options.optim.schedule.learning_rate = 1e-6;
    setup.options.supervised = setup.options.optim;
    setup.algorithm = Must(training::PresetAlgorithm("grpo"));
    setup.model = Must(source.Build(dtype, at::kCPU));
    setup.initial = std::move(source.weights);
    setup.comm = comm.get();
    setup.vocabulary = source.vocabulary();
    trainer = Must(training::LocalTrainer::Create(std::move(setup)));
  }
};

std::vector<data::SampleRequest> Requests(int64_t step, int32_t tokens, int64_t vocabulary) {
  std::vector<data::SampleRequest> out;
  for (int64_t p = 0; p < kPrompts; p++) {
    data::SampleRequest request;
    request.group = GroupId::Make(step, 0, static_cast<int>(p));
    request.samples = kSamples;
    request.prompt = Prompt(kPromptTokens, p, vocabulary);
    request.params.max_new_tokens = tokens;
    request.params.seed = 1;
    out.push_back(std::move(request));
  }
  return out;
}

void Grpo(Rig& rig, at::ScalarType dtype, int32_t tokens, int steps) {
  inference::EngineOptions options;
  options.dtype = dtype;
  options.max_slots = kPrompts * kSamples;
  auto engine = Must(inference::SlotEngine::Create(Must(rig.source.Build(dtype, at::kCPU)), options));
  for (int step = 0; step < steps; step++) {
    auto begin = Clock::now();
    Must(engine->Update(Must(engine->Prepare(Must(rig.trainer->Snapshot()))), data::OnUpdate::kKeep));
    const double publish = Seconds(begin);
    begin = Clock::now();
    const auto rollouts =
        Must(inference::Generate(*engine, Requests(step, tokens, rig.source.info.vocabulary)));
    const double sample = Seconds(begin);
    data::TrainBatch batch{StepId(step), {}};
    for (size_t g = 0; g < rollouts.size(); g++) {
      data::Group group;
      group.id = GroupId::Make(step, 0, static_cast<int>(g));
      group.rollouts = rollouts[g];
      for (size_t k = 0; k < group.rollouts.size(); k++)
        group.rollouts[k].score.total = static_cast<double>(k % 3);
      Must(rig.trainer->Advantages(group));
      batch.groups.push_back(std::move(group));
    }
    begin = Clock::now();
    Must(engine->Update(nullptr, data::OnUpdate::kKeep));  // as a run at staleness 0 does
    const auto result = Must(rig.trainer->Step(batch));
    const double train = Seconds(begin);
    const double total = publish + sample + train;
    if (step + 1 == steps)
      std::printf(
          "{\"step_s\": %.3f, \"sample_s\": %.3f, \"train_s\": %.3f, \"publish_s\": %.3f, \"peak_gib\": "
          "%.3f, "
          "\"new_tokens_per_s\": %.2f}\n",
          total, sample, train, publish, PeakGib(),
          static_cast<double>(kPrompts * kSamples * tokens) / total);
  }
}

// The sequences of peers/transformers_training.py: lengths of 16 to 512, half of them below 55.
void Packed(Rig& rig) {
  std::vector<data::Rollout> examples;
  int64_t tokens = 0;
  for (int i = 0; i < 64; i++) {
    const double share = (i * 37 % 64 + 0.5) / 64;
    const auto length = static_cast<int64_t>(16 * std::pow(32, std::pow(share, 1.5)));
    tokens += length;
    data::Rollout rollout;
    data::Span prompt, answer;
    prompt.tokens = {1};
    answer.origin = data::SpanOrigin::kSampled;
    answer.tokens = Prompt(length - 1, i, rig.source.info.vocabulary);
    rollout.spans = {prompt, answer};
    examples.push_back(std::move(rollout));
  }
  Must(rig.trainer->SupervisedStep(std::vector(examples.begin(), examples.begin() + 2)).status());  // warm-up
  const auto begin = Clock::now();
  Must(rig.trainer->SupervisedStep(examples).status());
  const double seconds = Seconds(begin);
  std::printf("{\"tokens\": %lld, \"tokens_per_s\": %.2f, \"peak_gib\": %.3f}\n",
              static_cast<long long>(tokens), static_cast<double>(tokens) / seconds, PeakGib());
}

}  // namespace
}  // namespace volery::bench

int main(int argc, char** argv) {
  using namespace volery::bench;
  const std::string what = argc > 3 ? argv[3] : "";
  const auto number = [&](int at, int64_t otherwise) { return argc > at ? std::atoll(argv[at]) : otherwise; };
  if (what != "grpo" && what != "packed") {
    std::cerr << "usage: bench_training MODEL float32|bfloat16 grpo NEW [MICRO-BATCH TOKENS] [STEPS] | "
                 "packed [MICRO-BATCH TOKENS]\n";
    return 2;
  }
  const auto dtype = std::string(argv[2]) == "bfloat16" ? at::kBFloat16 : at::kFloat;
  Rig rig(argv[1], dtype, number(what == "grpo" ? 5 : 4, 512));
  if (what == "grpo")
    Grpo(rig, dtype, static_cast<int32_t>(number(4, 32)), static_cast<int>(number(6, 2)));
  else
    Packed(rig);
  return 0;
}
