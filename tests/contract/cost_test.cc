// What one decode step costs, counted: products, bytes of weights that they read, tensors that are allocated.

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include "model_fixture.h"

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

// Counts the tensors that are allocated while it lives.
class CountingAllocator final : public c10::Allocator {
 public:
  CountingAllocator() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }
  ~CountingAllocator() override { c10::SetCPUAllocator(inner_, kPriority); }
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes > 0) count++;
    return inner_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    inner_->copy_data(to, from, bytes);
  }
  int64_t count = 0;

 private:
  static constexpr uint8_t kPriority = 1;
  c10::Allocator* inner_;
};

class DecodeCost : public ::testing::TestWithParam<FamilyCase> {};

TEST_P(DecodeCost, ReadsEveryWeightOnceAndAllocatesTheSameEveryStep) {
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
    // All projections of one input are one product: at most four a block, and the head.
    EXPECT_LE(factory.counts.products, 4 * tiny.model->info().layers + 1);
    EXPECT_EQ(factory.counts.weight_bytes, sampler.weights->bytes());
    EXPECT_EQ(allocations.back(), allocations.front());
  }
  RecordProperty("tensors allocated a step", static_cast<int>(allocations.back()));
}

INSTANTIATE_TEST_SUITE_P(Families, DecodeCost, ::testing::ValuesIn(InstalledFamilies()),
                         [](const auto& info) { return info.param.family; });

}  // namespace
}  // namespace volery::testing
