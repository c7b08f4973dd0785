// One cell of the sampling table: tokens a second of the engine, the median and worst time of a step, and
// what share of its time the model's products alone would take, and the bound of memory or arithmetic. One
// JSON line on standard output.
//
//   bench_sampling MODEL float32|bfloat16 decode BATCH [NEW TOKENS]     prompts of 32 tokens
//   bench_sampling MODEL float32|bfloat16 prefill TOKENS
//   bench_sampling MODEL float32|bfloat16 versions BATCH                prepares versions while it decodes

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <thread>
#include <tuple>

#include "core/inference/engine.h"
#include "core/policy/families.h"
#include "core/policy/model_source.h"
#include "core/policy/version.h"
#include "core/tensor/threads.h"
#include "tests/bench/bench.h"
#include "volery/nn/linear.h"

namespace volery::bench {
namespace {

constexpr int kPrompt = 32;
constexpr uint64_t kSeed = 1;

// Notes the products that a model packs.
class RecordingFactory final : public nn::LinearFactory {
 public:
  std::unique_ptr<nn::Linear> Make(const nn::LinearSpec& spec, const nn::NamedTensors& parameters) override {
    return inner_->Make(spec, parameters);
  }
  std::unique_ptr<nn::PackedLinear> Pack(const std::vector<nn::LinearSpec>& fused,
                                         const nn::NamedTensors& weights) const override {
    int64_t out = 0;
    for (const nn::LinearSpec& spec : fused) out += spec.out;
    shapes.push_back({fused.front().in, out});
    return inner_->Pack(fused, weights);
  }
  mutable std::vector<std::array<int64_t, 2>> shapes;  // [in, out]

 private:
  std::unique_ptr<nn::LinearFactory> inner_ = nn::MakeLinearFactory();
};

struct Bench {
  policy::ModelSource source;
  std::shared_ptr<native::Model> model;
  at::ScalarType dtype;
  data::WeightVersionPtr version;
  std::vector<std::array<int64_t, 2>> products;  // [in, out] of all that a step runs

  Bench(const std::string& path, at::ScalarType type) : dtype(type) {
    tensor::SetComputeThreads(kThreads);
    const plugin::PluginHost host;
    policy::OpenOptions options;
    options.dtype = dtype;
    source = Must(policy::OpenModel(path, policy::FamiliesOf(host), options));
    model = Must(source.Build(dtype, at::kCPU));
    RecordingFactory recording;
    source.family->Build(source.config_json, {dtype, at::kCPU, &recording})->Prepare(source.weights, 0);
    products = recording.shapes;
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

double Median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

// The model's matrix products in one step.
struct Products {
  double seconds = 0, flops = 0, bytes = 0;
};

// Each product as often as a step of `rows` rows runs it, the head over `head_rows`, with as many copies as
// keep them out of the cache.
Products MeasureProducts(const Bench& bench, int64_t rows, int64_t head_rows) {
  const auto linears = nn::MakeLinearFactory();
  std::map<std::array<int64_t, 3>, int64_t> shapes;  // [rows, in, out] -> how often
  for (const auto& [in, out] : bench.products)
    shapes[{out == bench.source.info.vocabulary ? head_rows : rows, in, out}]++;
  Products all;
  for (const auto& [shape, times] : shapes) {
    const auto [m, in, out] = shape;
    std::vector<std::unique_ptr<nn::PackedLinear>> copies;
    const at::Tensor w = at::randn({out, in}).to(bench.dtype), x = at::randn({m, in}).to(bench.dtype);
    const int64_t many = std::clamp<int64_t>(120'000'000 / w.nbytes(), 1, times * 4);
    for (int64_t i = 0; i < many; i++) copies.push_back(linears->Pack({{"w", "", in, out}}, {{"w", w}}));
    std::vector<double> rounds;
    for (int round = 0; round < 7; round++) {
      const auto begin = Clock::now();
      for (const auto& copy : copies) copy->Forward(x);
      rounds.push_back(Seconds(begin) / static_cast<double>(many));
    }
    all.seconds += Median(rounds) * static_cast<double>(times);
    all.flops += 2.0 * static_cast<double>(m * in * out * times);
    all.bytes += static_cast<double>(w.nbytes() * times);
  }
  return all;
}

// Bytes a second that all threads read from memory.
double ReadRate() {
  const at::Tensor x = at::ones({100'000'000});
  std::vector<double> rounds;
  for (int i = 0; i < 9; i++) {
    const auto begin = Clock::now();
    x.sum();
    rounds.push_back(Seconds(begin));
  }
  return static_cast<double>(x.nbytes()) / Median(rounds);
}

// Runs fused multiply-adds in registers alone; returns how many floating-point operations.
#define VOLERY_FMA_LOOP(name, isa, type, width, fma)                                        \
  __attribute__((target(isa))) double name(int64_t n) {                                     \
    type a[10] = {}, scale = type{} + 0.999f, shift = type{} + 0.5f;                        \
    for (int64_t k = 0; k < n; k++) {                                                       \
      _Pragma("GCC unroll 10") for (int i = 0; i < 10; i++) a[i] = fma(a[i], scale, shift); \
    }                                                                                       \
    volatile float keep = 0;                                                                \
    for (const type& x : a) keep = keep + x[0];                                             \
    return static_cast<double>(n) * 10 * width * 2;                                         \
  }
VOLERY_FMA_LOOP(FmasAvx512, "avx512f", __m512, 16, _mm512_fmadd_ps)
VOLERY_FMA_LOOP(FmasAvx2, "avx2,fma", __m256, 8, _mm256_fmadd_ps)

// Floating-point operations a second of all threads together.
double FmaRate() {
  std::vector<double> rounds;
  for (int round = 0; round < 5; round++) {
    const auto begin = Clock::now();
    std::vector<double> flops(kThreads);
    std::vector<std::thread> threads;
    for (double& done : flops)
      threads.emplace_back([&done] {
        done = __builtin_cpu_supports("avx512f") ? FmasAvx512(10'000'000) : FmasAvx2(10'000'000);
      });
    for (std::thread& thread : threads) thread.join();
    rounds.push_back(Sum(flops) / Seconds(begin));
  }
  return Median(rounds);
}

// Runs `cell`, which returns the seconds of its step, between two measurements of what limits it: the model's
// products alone, and the machine (weights and `state_bytes` through memory, or the products' arithmetic,
// whichever takes longer).
template <class Cell>
void Report(Bench& bench, int64_t rows, int64_t head_rows, double state_bytes, const Cell& cell) {
  const auto limits = [&] {
    const Products products = MeasureProducts(bench, rows, head_rows);
    return std::pair(products.seconds,
                     std::max((products.bytes + state_bytes) / ReadRate(), products.flops / FmaRate()));
  };
  const auto before = limits();
  const auto [step, tokens_per_s, worst] = cell();
  const auto after = limits();
  std::printf(
      "{\"tokens_per_s\": %.3f, \"step_ms\": %.4f, \"step_ms_worst\": %.4f, \"of_products\": %.4f, "
      "\"of_bound\": %.4f}\n",
      tokens_per_s, 1e3 * step, 1e3 * worst, (before.first + after.first) / 2 / step,
      (before.second + after.second) / 2 / step);
}

void Decode(Bench& bench, int64_t batch, int32_t tokens) {
  auto engine = bench.Engine(batch);
  bench.Submit(*engine, batch, kPrompt, 4);
  Drain(*engine);
  const native::StateSpec spec = bench.model->state_spec(bench.dtype);
  // Keys and values are read; a state of one size is read and written.
  const int64_t slot = spec.bytes_per_token > 0 ? (kPrompt + tokens / 2) * spec.bytes_per_token : 2 * spec.bytes_per_slot;
  const auto state_bytes = static_cast<double>(batch * slot);
  Report(bench, batch, batch, state_bytes, [&] {
    bench.Submit(*engine, batch, kPrompt, tokens);
    const std::vector<double> steps = Drain(*engine);
    return std::tuple(Median(steps), static_cast<double>(batch * tokens) / Sum(steps),
                      *std::max_element(steps.begin() + 1, steps.end()));
  });
}

void Prefill(Bench& bench, int64_t tokens) {
  auto engine = bench.Engine(1);
  bench.Submit(*engine, 1, tokens, 1);
  Drain(*engine);
  Report(bench, tokens, 1, 0, [&] {
    std::vector<double> rounds;
    for (int i = 0; i < 5; i++) {
      bench.Submit(*engine, 1, tokens, 1);
      rounds.push_back(Sum(Drain(*engine)));
    }
    const double seconds = Median(rounds);
    return std::tuple(seconds, static_cast<double>(tokens) / seconds,
                      *std::max_element(rounds.begin(), rounds.end()));
  });
}

// Prepares versions on a thread of its own, first alone, then while the engine decodes.
void Versions(Bench& bench, int64_t batch) {
  auto engine = bench.Engine(batch);
  const auto prepare = [&] {
    std::vector<double> times;
    std::thread([&] {
      tensor::SetComputeThreads(kThreads);  // as the trainer's thread has
      for (int i = 1; i <= 5; i++) {
        const auto begin = Clock::now();
        const auto prepared = Must(engine->Prepare(policy::MakeVersion(VersionId(i), bench.source.weights)));
        times.push_back(Seconds(begin));
      }
    }).join();
    return Median(times);
  };
  const auto decode = [&] {
    bench.Submit(*engine, batch, kPrompt, 64);
    const std::vector<double> steps = Drain(*engine);
    return *std::max_element(steps.begin() + 1, steps.end());
  };
  const double alone = prepare(), undisturbed = decode();
  double beside = 0;
  std::thread preparer([&] { beside = prepare(); });
  const double disturbed = decode();
  preparer.join();
  std::printf(
      "{\"prepare_ms\": %.2f, \"prepare_ms_while_decoding\": %.2f, \"step_ms_worst\": %.3f, "
      "\"step_ms_worst_while_preparing\": %.3f}\n",
      1e3 * alone, 1e3 * beside, 1e3 * undisturbed, 1e3 * disturbed);
}

}  // namespace
}  // namespace volery::bench

int main(int argc, char** argv) {
  using namespace volery::bench;
  const std::string what = argc > 3 ? argv[3] : "";
  const int64_t number = argc > 4 ? std::atoll(argv[4]) : 1;
  if (argc < 4) {
    std::cerr << "usage: bench_sampling MODEL float32|bfloat16 decode|prefill|versions "
                 "[NUMBER] [NEW TOKENS]\n";
    return 2;
  }
  Bench bench(argv[1], std::string(argv[2]) == "bfloat16" ? at::kBFloat16 : at::kFloat);
  if (what == "decode") Decode(bench, number, argc > 5 ? std::atoi(argv[5]) : 128);
  if (what == "prefill") Prefill(bench, number);
  if (what == "versions") Versions(bench, number);
  return 0;
}
