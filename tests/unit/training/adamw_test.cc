#include "core/training/adamw.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "golden.h"

namespace volery::training {
namespace {

std::unique_ptr<ParameterStore> MakeStore(const nlohmann::json& run) {
  const auto dtype = run["dtype"] == "float64" ? at::kDouble : at::kFloat;
  std::vector<native::TensorSpec> specs;
  native::NamedTensors initial;
  for (const char* name : {"matrix", "norm"}) {
    specs.push_back(
        {name, run["shapes"][name].get<std::vector<int64_t>>(), std::string(name) == "matrix", 1});
    initial[name] = at::tensor(run["initial"][name].get<std::vector<double>>(), at::kDouble)
                        .to(dtype)
                        .view(specs.back().shape);
  }
  return *ParameterStore::Create(specs, initial, dtype, at::kCPU);
}

std::vector<double> Values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kDouble).contiguous().view({-1});
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

class AdamWTest : public ::testing::TestWithParam<bool> {};

TEST_P(AdamWTest, FollowsTorchForTenSteps) {
  const nlohmann::json golden = ReadGolden("adamw.json");
  ASSERT_EQ(golden["runs"].size(), 3u);
  for (const auto& run : golden["runs"]) {
    auto store = MakeStore(run);
    AdamW adam(*store);
    const AdamOptions options{run["beta1"], run["beta2"], run["epsilon"], run["weight_decay"], GetParam()};
    const double tolerance = run["dtype"] == "float64" ? 1e-13 : 1e-6, limit = run["max_grad_norm"];
    for (const auto& step : run["steps"]) {
      for (const auto& [name, leaf] : store->bound()) {
        leaf.grad().view({-1}).copy_(
            at::tensor(step["gradients"][name].get<std::vector<double>>(), at::kDouble));
      }
      const double norm = GlobalNorm(store->gradients());
      EXPECT_NEAR(norm, step["norm"].get<double>(), 1e-6);
      adam.Step(*store, options, run["lr"], limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1);
      for (const auto& [name, leaf] : store->bound())
        ExpectNear(Values(leaf), step["values"][name], tolerance, name);
    }
    EXPECT_EQ(adam.steps(), 10);
  }
}

INSTANTIATE_TEST_SUITE_P(FusedOrNot, AdamWTest, ::testing::Bool());

TEST(AdamW, ThreadsDoNotChangeBits) {
  const int before = at::get_num_threads();
  std::vector<at::Tensor> results;
  std::vector<double> norms;
  for (int threads : {1, 2}) {
    at::set_num_threads(threads);
    at::manual_seed(3);
    const at::Tensor weights = at::randn({300, 1000}), gradients = at::randn({300, 1000});
    auto store =
        *ParameterStore::Create({{"w", {300, 1000}, true, 1}}, {{"w", weights}}, at::kFloat, at::kCPU);
    AdamW adam(*store);
    store->bound().at("w").grad().copy_(gradients);
    norms.push_back(GlobalNorm(store->gradients()));
    adam.Step(*store, {}, 1e-3, 0.5);
    results.push_back(store->masters().clone());
  }
  at::set_num_threads(before);
  EXPECT_EQ(norms[0], norms[1]);
  EXPECT_TRUE(at::equal(results[0], results[1]));
}

TEST(AdamW, LearningRateScaleAndReset) {
  auto store = *ParameterStore::Create({{"a", {2}, false, 1}, {"b", {2}, false, 0.5}},
                                       {{"a", at::zeros({2})}, {"b", at::zeros({2})}}, at::kFloat, at::kCPU);
  AdamW adam(*store);
  store->gradients().fill_(1);
  adam.Step(*store, {}, 0.1, 1);
  EXPECT_NEAR(store->bound().at("a")[0].item<double>(), -0.1, 1e-6);
  EXPECT_NEAR(store->bound().at("b")[0].item<double>(), -0.05, 1e-6);
  adam.Reset();
  EXPECT_EQ(adam.steps(), 0);
  EXPECT_EQ(adam.first_moment().abs().sum().item<double>(), 0);
}

TEST(GlobalNorm, ShowsWhatIsNotFinite) {
  at::Tensor flat = at::ones({200'000});
  EXPECT_NEAR(GlobalNorm(flat), std::sqrt(200'000.0), 1e-9);
  flat[150'000] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(GlobalNorm(flat)));
  flat[150'000] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(GlobalNorm(flat)));
}

TEST(ParameterStore, RefusesTensorsThatDontFit) {
  const std::vector<native::TensorSpec> specs = {{"w", {2, 3}, true, 1}};
  auto message = [&](native::NamedTensors initial, at::ScalarType dtype) {
    return Message(ParameterStore::Create(specs, initial, dtype, at::kCPU).status());
  };
  EXPECT_EQ(message({}, at::kFloat), "tensor 'w' of the model is missing from its weights");
  EXPECT_NE(message({{"w", at::zeros({3, 2})}}, at::kFloat).find("[3, 2]; the model needs floats [2, 3]"),
            std::string::npos);
  EXPECT_NE(message({{"w", at::zeros({2, 3})}, {"x", at::zeros({1})}}, at::kFloat).find("'x'"),
            std::string::npos);
  EXPECT_NE(message({{"w", at::zeros({2, 3})}}, at::kHalf).find("bfloat16"), std::string::npos);
}

TEST(ParameterStore, SwapTwiceIsTheIdentity) {
  auto store = *ParameterStore::Create({{"w", {3}, true, 1}}, {{"w", at::tensor({1.0f, 2.0f, 3.0f})}},
                                       at::kFloat, at::kCPU);
  at::Tensor other = at::tensor({4.0f, 5.0f, 6.0f});
  store->SwapMasters(other);
  EXPECT_EQ(store->bound().at("w")[0].item<float>(), 4);
  EXPECT_EQ(other[2].item<float>(), 3);
  store->SwapMasters(other);
  EXPECT_EQ(store->bound().at("w")[0].item<float>(), 1);
}

}  // namespace
}  // namespace volery::training
