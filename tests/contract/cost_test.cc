// What a decode step and a training block cost, counted: products, bytes of weights that they read, tensors
// that are allocated, bytes that are kept.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model_fixture.h"
#include "tests/counting_allocator.h"

namespace volery::testing {
namespace {

struct Counts {
  int64_t products = 0, weight_bytes = 0;
};

class CountingLinear final : public nn::PackedLinear {
 public:
  CountingLinear(std::unique_ptr<nn::PackedLinear> inner, Counts& counts)
      : inner_(std::move(inner)), counts_(counts) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    counts_.products++;
    counts_.weight_bytes += inner_->bytes();
    return inner_->Forward(x);
  }
  at::Tensor WeightRows(const at::Tensor& rows) const override { return inner_->WeightRows(rows); }
  int64_t bytes() const override { return inner_->bytes(); }

 private:
  std::unique_ptr<nn::PackedLinear> inner_;
  Counts& counts_;
};

class CountingFactory final : public nn::LinearFactory {
 public:
  std::unique_ptr<nn::Linear> Make(const nn::LinearSpec& spec, const nn::NamedTensors& parameters) override {
    return inner_->Make(spec, parameters);
  }
  std::unique_ptr<nn::PackedLinear> Pack(const std::vector<nn::LinearSpec>& fused,
                                         const nn::NamedTensors& weights) const override {
    return std::make_unique<CountingLinear>(inner_->Pack(fused, weights), counts);
  }
  mutable Counts counts;

 private:
  std::unique_ptr<nn::LinearFactory> inner_ = nn::MakeLinearFactory();
};

bool MixesTokens(const native::NamedTensors& parameters) {
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const auto& p) { return p.first.find("time_m") != std::string::npos; });
}

class Cost : public ::testing::TestWithParam<FamilyCase> {};

TEST_P(Cost, ReadsEveryWeightOnceAndAllocatesTheSameEveryStep) {
  const TinyModel source = MakeTiny(GetParam(), at::kFloat);
  CountingFactory factory;
  TinyModel tiny;
  tiny.model = GetParam().implementation->Build(source.model->config_json(),
                                                {.dtype = at::kFloat, .linears = &factory});
  tiny.parameters = source.parameters;
  Sampler sampler(tiny, at::kFloat);
  std::vector<std::pair<int64_t, at::Tensor>> chunks;
  for (int i = 0; i < 4; i++) {
    chunks.emplace_back(sampler.Slot(64), RandomTokens(1, tiny.model->info().vocabulary, 1 + i));
    sampler.Read(chunks.back().first, RandomTokens(20 + i, tiny.model->info().vocabulary, 9));
  }
  CountingAllocator allocator;
  std::vector<int64_t> allocations;
  const auto step = [&] {
    factory.counts = Counts();
    allocator.count = 0;
    sampler.Logits(sampler.Read(chunks));
    allocations.push_back(allocator.count);
  };
  step();  // warm-up
  for (int i = 0; i < 5; i++) {
    step();
    // All projections of one input are one product: at most four a block of attention (seventeen
    // of mixes, whose streams differ), and the head.
    const native::ModelInfo& info = tiny.model->info();
    const bool mixes = MixesTokens(tiny.parameters);
    EXPECT_LE(factory.counts.products, (mixes ? 17 : 4) * info.layers + (mixes ? 3 : 1));
    // An embedding that isn't the head is read row by row.
    EXPECT_EQ(factory.counts.weight_bytes,
              sampler.weights->bytes() - (info.tied ? 0 : info.vocabulary * info.width * 4));
    EXPECT_EQ(allocations.back(), allocations.front());
  }
  RecordProperty("tensors allocated a step", static_cast<int>(allocations.back()));
}

// What `volery plan` counts with: of the block that keeps most.
TEST_P(Cost, ABlockKeepsWhatTheModelSays) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  if (tiny.model->info().saved_elements == 0) GTEST_SKIP() << "the model doesn't say";
  const int64_t tokens = 64;
  const native::Batch batch = MakeBatch({RandomTokens(tokens, tiny.model->info().vocabulary, 3)}, {-1});
  const auto context = tiny.model->Begin(batch);
  at::Tensor x = tiny.model->Embed(batch, *context);
  double kept = 0;
  for (int64_t i = 0; i < tiny.model->blocks(); i++) {
    CountingAllocator allocator;
    const at::Tensor y = tiny.model->Block(i, x, *context);  // held instead of x, which the block keeps
    kept = std::max(kept, static_cast<double>(*allocator.live) / (tokens * 4));
    x = y;
  }
  EXPECT_NEAR(kept / static_cast<double>(tiny.model->info().saved_elements), 1, 0.02);
}

INSTANTIATE_TEST_SUITE_P(Families, Cost, ::testing::ValuesIn(InstalledFamilies()),
                         [](const auto& info) { return TestName(info.param.family); });

}  // namespace
}  // namespace volery::testing
