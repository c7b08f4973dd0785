// One cell of the sampling table: tokens a second of the engine, the rate of its products on the model's own
// shapes, and the worst time between two steps. One JSON line on standard output.
//
//   bench_sampling MODEL float32|bfloat16 decode BATCH [NEW TOKENS]     prompts of 32 tokens
//   bench_sampling MODEL float32|bfloat16 prefill TOKENS
//   bench_sampling MODEL float32|bfloat16 products ROWS
//   bench_sampling MODEL float32|bfloat16 versions BATCH                prepares versions while it decodes
//   bench_sampling MODEL float32|bfloat16 read                          bytes a second that all threads read

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <thread>

#include "core/inference/engine.h"
#include "core/policy/families.h"
#include "core/policy/model_source.h"
#include "core/policy/version.h"
#include "core/tensor/threads.h"
#include "tests/bench/bench.h"

namespace volery::bench {
namespace {

constexpr int kPrompt = 32;
constexpr uint64_t kSeed = 1;

struct Bench {
  policy::ModelSource source;
  std::shared_ptr<native::Model> model;
  at::ScalarType dtype;
  data::WeightVersionPtr version;

  Bench(const std::string& path, at::ScalarType type) : dtype(type) {
    tensor::SetComputeThreads(kThreads);
    const plugin::PluginHost host;
    policy::OpenOptions options;
    options.dtype = dtype;
    source = Must(policy::OpenModel(path, policy::FamiliesOf(host), options));
    model = Must(source.Build(dtype, at::kCPU));
    version = policy::MakeVersion(VersionId(0), source.weights);
  }

  std::unique_ptr<inference::SlotEngine> Engine(int64_t slots) {
    inference::EngineOptions options;
    options.dtype = dtype;
    options.max_slots = slots;
    auto engine = Must(inference::SlotEngine::Create(model, options));
    Must(engine->Update(Must(engine->Prepare(version)), data::OnUpdate::kKeep));
    return engine;
  }

  void Submit(inference::SlotEngine& engine, int64_t batch, int64_t prompt, int32_t tokens) const {
    for (int64_t i = 0; i < batch; i++) {
      data::SamplingParams params;
      params.max_new_tokens = tokens;
      params.seed = kSeed;
      Must(engine
               .Submit({GroupId::Make(0, 0, static_cast<int>(i)), 0, 1,
                        Prompt(prompt, i, source.info.vocabulary), params})
               .status());
    }
  }
};

// Runs the engine dry; returns the times of its steps.
std::vector<double> Drain(inference::SlotEngine& engine) {
  std::vector<double> steps;
  while (!engine.idle()) {
    const auto begin = Clock::now();
    Must(engine.Step().status());
    steps.push_back(Seconds(begin));
  }
  return steps;
}

double Sum(const std::vector<double>& x) {
  double out = 0;
  for (double v : x) out += v;
  return out;
}

void Decode(Bench& bench, int64_t batch, int32_t tokens) {
  auto engine = bench.Engine(batch);
  bench.Submit(*engine, batch, kPrompt, 4);
  Drain(*engine);
  bench.Submit(*engine, batch, kPrompt, tokens);
  const std::vector<double> steps = Drain(*engine);
  std::printf(
      "{\"tokens_per_s\": %.3f, \"step_ms_median\": %.4f, \"step_ms_worst\": %.4f}\n",
      static_cast<double>(batch * tokens) / Sum(steps),
      [&] {
        std::vector<double> sorted = steps;
        std::sort(sorted.begin(), sorted.end());
        return 1e3 * sorted[sorted.size() / 2];
      }(),
      1e3 * *std::max_element(steps.begin() + 1, steps.end()));
}

void Prefill(Bench& bench, int64_t tokens) {
  auto engine = bench.Engine(1);
  bench.Submit(*engine, 1, tokens, 1);
  Drain(*engine);
  double best = 1e9;
  for (int i = 0; i < 3; i++) {
    bench.Submit(*engine, 1, tokens, 1);
    best = std::min(best, Sum(Drain(*engine)));
  }
  std::printf("{\"tokens_per_s\": %.3f}\n", static_cast<double>(tokens) / best);
}

// The model's products, each as often as a step runs it, with as many copies as keep them out of the cache.
void Products(Bench& bench, int64_t rows) {
  const auto linears = nn::MakeLinearFactory();
  std::map<std::pair<int64_t, int64_t>, int64_t> shapes;  // [in, out] -> how often
  const auto count = [&](const std::string& name, std::vector<const char*> parts) {
    int64_t out = 0, in = 0;
    for (const char* part : parts) {
      const at::Tensor w = bench.source.weights.at("model.layers." + name + "." + part + ".weight");
      out += w.size(0);
      in = w.size(1);
    }
    shapes[{in, out}]++;
  };
  for (int64_t i = 0; i < bench.source.info.layers; i++) {
    const std::string layer = std::to_string(i);
    count(layer, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
    count(layer, {"self_attn.o_proj"});
    count(layer, {"mlp.gate_proj", "mlp.up_proj"});
    count(layer, {"mlp.down_proj"});
  }
  shapes[{bench.source.info.width, bench.source.info.vocabulary}]++;
  double seconds = 0, flops = 0, bytes = 0;
  for (const auto& [shape, times] : shapes) {
    const auto [in, out] = shape;
    std::vector<std::unique_ptr<nn::PackedLinear>> copies;
    const at::Tensor w = at::randn({out, in}).to(bench.dtype), x = at::randn({rows, in}).to(bench.dtype);
    const int64_t many = std::clamp<int64_t>(120'000'000 / w.nbytes(), 1, times * 4);
    for (int64_t i = 0; i < many; i++) copies.push_back(linears->Pack({{"w", "", in, out}}, {{"w", w}}));
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
      const auto begin = Clock::now();
      for (const auto& copy : copies) copy->Forward(x);
      best = std::min(best, Seconds(begin) / static_cast<double>(many));
    }
    seconds += best * static_cast<double>(times);
    flops += 2.0 * static_cast<double>(rows * in * out * times);
    bytes += static_cast<double>(w.nbytes() * times);
  }
  std::printf("{\"tokens_per_s\": %.3f, \"gflop_per_s\": %.2f, \"gbyte_per_s\": %.2f}\n",
              static_cast<double>(rows) / seconds, flops / seconds / 1e9, bytes / seconds / 1e9);
}

// Decodes while another thread prepares version after version.
void Versions(Bench& bench, int64_t batch) {
  auto engine = bench.Engine(batch);
  bench.Submit(*engine, batch, kPrompt, 64);
  const std::vector<double> before = Drain(*engine);
  bench.Submit(*engine, batch, kPrompt, 64);
  std::vector<double> prepare, during;
  std::thread preparer([&] {
    tensor::SetComputeThreads(kThreads);  // as the trainer's thread has
    for (int i = 1; i <= 5; i++) {
      const auto begin = Clock::now();
      const auto prepared = Must(engine->Prepare(policy::MakeVersion(VersionId(i), bench.source.weights)));
      prepare.push_back(Seconds(begin));
    }
  });
  during = Drain(*engine);
  preparer.join();
  const auto worst = [](const std::vector<double>& x) {
    return 1e3 * *std::max_element(x.begin() + 1, x.end());
  };
  std::printf("{\"prepare_ms\": %.2f, \"step_ms_worst\": %.3f, \"step_ms_worst_while_preparing\": %.3f}\n",
              1e3 * *std::min_element(prepare.begin(), prepare.end()), worst(before), worst(during));
}

void Read() {
  const at::Tensor x = at::ones({100'000'000});
  double best = 1e9;
  for (int i = 0; i < 10; i++) {
    const auto begin = Clock::now();
    x.sum();
    best = std::min(best, Seconds(begin));
  }
  std::printf("{\"gbyte_per_s\": %.2f}\n", static_cast<double>(x.nbytes()) / best / 1e9);
}

}  // namespace
}  // namespace volery::bench

int main(int argc, char** argv) {
  using namespace volery::bench;
  const std::string what = argc > 3 ? argv[3] : "";
  const int64_t number = argc > 4 ? std::atoll(argv[4]) : 1;
  if (argc < 4) {
    std::cerr << "usage: bench_sampling MODEL float32|bfloat16 decode|prefill|products|versions|read "
                 "[NUMBER] [NEW TOKENS]\n";
    return 2;
  }
  Bench bench(argv[1], std::string(argv[2]) == "bfloat16" ? at::kBFloat16 : at::kFloat);
  if (what == "decode") Decode(bench, number, argc > 5 ? std::atoi(argv[5]) : 128);
  if (what == "prefill") Prefill(bench, number);
  if (what == "products") Products(bench, number);
  if (what == "versions") Versions(bench, number);
  if (what == "read") Read();
  return 0;
}
