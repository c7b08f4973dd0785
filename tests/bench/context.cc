// What a context costs: bytes of decode state, prefill and decode as it grows, and a training step, of a model
// with random weights made in memory. One JSON line on standard output.
//
//   bench_context FAMILY float32|bfloat16 LAYERS WIDTH VOCABULARY [kv_heads=N] [cache=MODE] [memo_bytes=N] WHAT
//   WHAT: bytes N,N ...     allocator counters of a slot of N tokens; needs no weights
//         walk N,N ...      reads prompts up to N tokens in all, then decodes a few: ascending
//         train CONTEXT SEQUENCES
//   bench_context recurrence TOKENS HEADS      the scan alone and a plain loop, a head of 64 x 64, one thread

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>
#include <string>

#include "core/data/text_batch.h"
#include "core/distributed/single_comm.h"
#include "core/plugin/plugin_host.h"
#include "core/policy/families.h"
#include "core/tensor/threads.h"
#include "core/training/next_token_trainer.h"
#include "tests/bench/bench.h"
#include "tests/counting_allocator.h"
#include "volery/nn/wkv.h"

namespace volery::bench {
namespace {

constexpr int64_t kChunk = 512;   // prompt tokens of one call
constexpr int kDecoded = 9;       // tokens after each prompt; the median counts

std::vector<int64_t> Numbers(const std::string& text) {
  std::vector<int64_t> out;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) out.push_back(std::stoll(part));
  return out;
}

double Median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

struct Setup {
  plugin::PluginHost host;
  at::ScalarType dtype = at::kFloat;
  std::shared_ptr<native::Model> model;

  Setup(const native::ScratchConfig& scratch, at::ScalarType type, const std::map<std::string, std::string>& options)
      : dtype(type) {
    const native::ModelFamily* family = Must(policy::FamiliesOf(host)(scratch.family));
    model = Must(policy::BuildModel(*family, family->ScratchConfigJson(scratch), dtype, at::kCPU, scratch.family,
                                    options));
  }

  native::NamedTensors Weights(at::ScalarType type) const {
    native::NamedTensors weights;
    for (const native::TensorSpec& spec : model->parameters()) weights[spec.name] = at::empty(spec.shape);
    model->Initialise(weights, 1);
    // Initial values hide paths behind zeros; arithmetic costs the same with any, denormals aside.
    for (auto& [name, tensor] : weights) {
      tensor.add_(at::randn_like(tensor), 0.01);
      tensor = tensor.to(type);
    }
    return weights;
  }
};

void Bytes(const Setup& setup, const std::vector<int64_t>& lengths) {
  std::printf("{\"bytes\": {");
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto state = setup.model->MakeState(setup.dtype);
    const testing::CountingAllocator allocator;
    state->Allocate(lengths[i]);
    std::printf("%s\"%ld\": %ld", i == 0 ? "" : ", ", lengths[i], allocator.live->load());
  }
  const native::StateSpec spec = setup.model->state_spec(setup.dtype);
  std::printf("}, \"a_token\": %ld, \"a_slot_at_most\": %ld}\n", spec.bytes_per_token, spec.bytes_per_slot);
}

// One slot that reads prompts and decodes in turns, as a conversation does.
class Walk {
 public:
  explicit Walk(const Setup& setup)
      : model_(*setup.model),
        weights_(model_.Prepare(setup.Weights(setup.dtype), 0)),
        state_(model_.MakeState(setup.dtype)),
        slot_(state_->Allocate(1)) {}

  // Seconds of a prompt's `tokens`, all chunks; its last row is asked for.
  double Read(int64_t tokens) {
    const auto begin = Clock::now();
    for (int64_t left = tokens; left > 0;) {
      const int64_t now = std::min(left, kChunk);
      left -= now;
      Advance(now, left == 0 ? now - 1 : now, left);
    }
    return Seconds(begin);
  }
  double DecodeOne() {
    const auto begin = Clock::now();
    Advance(1, 0, 0);
    return Seconds(begin);
  }
  int64_t length() const { return state_->Length(slot_); }
  int64_t bytes() const { return state_->bytes(); }

 private:
  void Advance(int64_t tokens, int64_t first_row, int64_t remaining) {
    const std::vector<int32_t> ids = Prompt(tokens, length(), model_.info().vocabulary);
    const native::Chunk chunk{slot_, ids, first_row, remaining};
    const at::Tensor hidden = model_.Advance(*weights_, *state_, std::span(&chunk, 1));
    if (hidden.defined() && hidden.size(0) > 0) logits_ = model_.Logits(*weights_, hidden);
    if (logits_.defined() && !logits_.isfinite().all().item<bool>()) Must(InternalError("logits aren't finite"));
  }

  const native::Model& model_;
  const std::shared_ptr<const native::PreparedWeights> weights_;
  const std::unique_ptr<native::DecodeState> state_;
  const int64_t slot_;
  at::Tensor logits_;
};

void WalkThrough(const Setup& setup, const std::vector<int64_t>& lengths) {
  const c10::InferenceMode inference;
  Walk walk(setup);
  walk.Read(64);
  walk.DecodeOne();
  std::printf("{\"points\": [");
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t tokens = lengths[i] - walk.length();
    const double seconds = walk.Read(tokens);
    std::vector<double> steps;
    for (int k = 0; k < kDecoded; ++k) steps.push_back(walk.DecodeOne());
    std::printf("%s{\"tokens\": %ld, \"read\": %ld, \"prefill_us_a_token\": %.2f, \"decode_ms\": %.3f, \"bytes\": %ld}",
                i == 0 ? "" : ", ", lengths[i], tokens, 1e6 * seconds / static_cast<double>(tokens),
                1e3 * Median(steps), walk.bytes());
    std::fflush(stdout);
  }
  std::printf("]}\n");
}

void Train(const Setup& setup, int64_t context, int64_t sequences) {
  distributed::SingleComm comm;
  training::NextTokenSetup next;
  next.options.dtype = setup.dtype;
  next.options.micro_batch_tokens = context;
  next.options.optim.schedule.learning_rate = 1e-6;
  next.model = setup.model;
  next.initial = setup.Weights(at::kFloat);
  next.comm = &comm;
  next.vocabulary = setup.model->info().vocabulary;
  auto trainer = Must(training::NextTokenTrainer::Create(std::move(next)));
  const auto text = data::TokensInMemory({Prompt(sequences * context + 1, 0, setup.model->info().vocabulary)});
  std::vector<data::TextWindow> lanes;
  for (int64_t i = 0; i < sequences; ++i) lanes.push_back({text.get(), i * context});
  const data::TextBatch batch = data::MakeTextBatch(lanes, {context, 1, false});
  Must(trainer->Step(batch).status());
  std::vector<double> steps;
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    Must(trainer->Step(batch).status());
    steps.push_back(Seconds(begin));
  }
  std::printf("{\"tokens_per_s\": %.3f, \"parameters\": %ld}\n",
              static_cast<double>(sequences * context) / Median(steps), setup.model->info().parameters);
}

// The recurrence as its definition reads, a head after another, and its gradients with all states kept.
struct PlainLoop {
  static constexpr int64_t kN = 64;
  int64_t tokens, heads;
  std::vector<float> states;  // before each token

  __attribute__((target_clones("avx512f", "avx2", "default"))) void Forward(const float* r, const float* k,
                                                                           const float* v, const float* w,
                                                                           const float* u, float* y) {
    const int64_t row = heads * kN;
    states.assign(static_cast<size_t>((tokens + 1) * kN * kN), 0);
    for (int64_t h = 0; h < heads; ++h) {
      std::fill_n(states.begin(), kN * kN, 0.0F);
      for (int64_t t = 0; t < tokens; ++t) {
        const float* before = states.data() + t * kN * kN;
        float* after = states.data() + (t + 1) * kN * kN;
        const int64_t at = t * row + h * kN;
        float* out = y + at;
        std::fill_n(out, kN, 0.0F);
        for (int64_t i = 0; i < kN; ++i) {
          const float ri = r[at + i], ki = k[at + i], wi = w[at + i], ui = u[h * kN + i];
          for (int64_t j = 0; j < kN; ++j) {
            const float kv = ki * v[at + j], s = before[i * kN + j];
            out[j] += ri * (s + ui * kv);
            after[i * kN + j] = wi * s + kv;
          }
        }
      }
    }
  }

  // Of the last head that ran forward, `heads` times (each head's states take the same memory).
  __attribute__((target_clones("avx512f", "avx2", "default"))) void Backward(
      const float* r, const float* k, const float* v, const float* w, const float* u, const float* gy, float* gr,
      float* gk, float* gv, float* gw, float* gu) {
    const int64_t row = heads * kN;
    std::vector<float> g(static_cast<size_t>(kN * kN));
    std::fill_n(gu, row, 0.0F);
    for (int64_t h = 0; h < heads; ++h) {
      std::fill(g.begin(), g.end(), 0.0F);
      for (int64_t t = tokens - 1; t >= 0; --t) {
        const float* before = states.data() + t * kN * kN;
        const int64_t at = t * row + h * kN;
        std::fill_n(gv + at, kN, 0.0F);
        for (int64_t i = 0; i < kN; ++i) {
          const float ri = r[at + i], ki = k[at + i], wi = w[at + i], ui = u[h * kN + i];
          float to_r = 0, to_k = 0, to_w = 0, to_u = 0;
          float* gi = g.data() + i * kN;
          const float* s = before + i * kN;
          for (int64_t j = 0; j < kN; ++j) {
            const float vj = v[at + j], gyj = gy[at + j], gs = gi[j], kv_gradient = gs + ri * ui * gyj;
            to_r += gyj * (s[j] + ui * ki * vj);
            to_k += kv_gradient * vj;
            to_w += gs * s[j];
            to_u += gyj * vj;
            gv[at + j] += kv_gradient * ki;
            gi[j] = wi * gs + ri * gyj;
          }
          gr[at + i] = to_r;
          gk[at + i] = to_k;
          gw[at + i] = to_w;
          gu[h * kN + i] += ri * ki * to_u;
        }
      }
    }
  }
};

// Nanoseconds a token and head of `run`: the best of several, as a kernel alone is bounded by arithmetic.
template <class Run>
double Nanoseconds(int64_t tokens, int64_t heads, const Run& run) {
  double best = 1e300;
  for (int i = 0; i < 15; ++i) {
    const auto begin = Clock::now();
    run();
    best = std::min(best, Seconds(begin));
  }
  return 1e9 * best / static_cast<double>(tokens * heads);
}

void Recurrence(int64_t tokens, int64_t heads) {
  tensor::SetComputeThreads(1);
  const int64_t row = heads * PlainLoop::kN;
  const auto leaf = [&] { return at::randn({tokens, row}).set_requires_grad(true); };
  const nn::WkvInputs in{leaf(), leaf(), leaf(), (at::randn({tokens, row}) * 0.5 - 1).set_requires_grad(true),
                         at::randn({row}).set_requires_grad(true)};
  const at::Tensor grad = at::randn({tokens, row});
  const nn::WkvSegments segments({{0, tokens, -1}}, tokens);
  const double forward = Nanoseconds(tokens, heads, [&] {
    const at::NoGradGuard no_grad;
    segments.Scan(in, heads, {});
  });
  at::Tensor y;
  std::vector<at::Tensor> gradients;
  const double both = Nanoseconds(tokens, heads, [&] {
    y = segments.Scan(in, heads, {});
    gradients = torch::autograd::grad({y}, {in.r, in.k, in.v, in.decay, in.u}, {grad});
  });
  const at::NoGradGuard no_grad;
  PlainLoop loop{tokens, heads, {}};
  const at::Tensor w = in.decay.exp().neg().exp();
  at::Tensor out = at::empty_like(in.r), gr = at::empty_like(out), gk = at::empty_like(out), gv = at::empty_like(out),
             gw = at::empty_like(out), gu = at::empty_like(in.u);
  const auto p = [](const at::Tensor& tensor) { return tensor.data_ptr<float>(); };
  const double plain = Nanoseconds(tokens, heads, [&] {
    loop.Forward(p(in.r), p(in.k), p(in.v), p(w), p(in.u), p(out));
  });
  const double plain_backward = Nanoseconds(tokens, heads, [&] {
    loop.Backward(p(in.r), p(in.k), p(in.v), p(w), p(in.u), p(grad), p(gr), p(gk), p(gv), p(gw), p(gu));
  });
  // Of the last head, whose states the plain loop still has.
  const auto check = [&](const at::Tensor& plain_result, const at::Tensor& own, const char* what) {
    const auto last = [&](const at::Tensor& x) { return x.narrow(-1, row - PlainLoop::kN, PlainLoop::kN); };
    const double difference = ((last(plain_result) - last(own)).norm() / last(own).norm()).item<double>();
    if (!(difference < 1e-4)) Must(InternalError("the plain loop gives another ", what, ": ", difference));
  };
  check(out, y, "result");
  check(gr, gradients[0], "gradient of r");
  check(gk, gradients[1], "gradient of k");
  check(gv, gradients[2], "gradient of v");
  check(gw * w * in.decay.exp().neg(), gradients[3], "gradient of the decay");
  check(gu, gradients[4], "gradient of u");
  std::printf(
      "{\"forward_ns\": %.1f, \"backward_ns\": %.1f, \"plain_forward_ns\": %.1f, \"plain_backward_ns\": %.1f}\n",
      forward, both - forward, plain, plain_backward);
}

int Main(int argc, char** argv) {
  tensor::SetComputeThreads(kThreads);
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 3 && words[0] == "recurrence") {
    Recurrence(std::stoll(words[1]), std::stoll(words[2]));
    return 0;
  }
  size_t at = 5;
  while (at < words.size() && words[at].find('=') != std::string::npos) ++at;
  const std::string what = at < words.size() ? words[at] : "";
  const size_t numbers = what == "train" ? 2 : what == "bytes" || what == "walk" ? 1 : 0;
  if (numbers == 0 || words.size() != at + 1 + numbers || (words[1] != "float32" && words[1] != "bfloat16")) {
    std::cerr << "usage: bench_context FAMILY float32|bfloat16 LAYERS WIDTH VOCABULARY [kv_heads=N] [cache=MODE] "
                 "[memo_bytes=N] bytes N,N | walk N,N | train CONTEXT SEQUENCES; bench_context recurrence TOKENS HEADS\n";
    return 2;
  }
  native::ScratchConfig scratch;
  scratch.family = words[0];
  scratch.layers = std::stoll(words[2]);
  scratch.width = std::stoll(words[3]);
  scratch.heads = scratch.width / 64;
  scratch.vocabulary = std::stoll(words[4]);
  scratch.context = 1 << 21;
  scratch.tied = false;
  std::map<std::string, std::string> options;
  for (size_t i = 5; i < at; ++i) {
    const std::string key = words[i].substr(0, words[i].find('=')), value = words[i].substr(key.size() + 1);
    if (key == "kv_heads")
      scratch.kv_heads = std::stoll(value);
    else
      options[key] = value;
  }
  const Setup setup(scratch, words[1] == "bfloat16" ? at::kBFloat16 : at::kFloat, options);
  if (what == "bytes") Bytes(setup, Numbers(words[at + 1]));
  if (what == "walk") WalkThrough(setup, Numbers(words[at + 1]));
  if (what == "train") Train(setup, std::stoll(words[at + 1]), std::stoll(words[at + 2]));
  return 0;
}

}  // namespace
}  // namespace volery::bench

int main(int argc, char** argv) {
  return volery::bench::Main(argc, argv);
}
