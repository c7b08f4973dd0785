// Tiny models of each family against what their references computed (tests/golden/models).

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "model_fixture.h"

namespace volery::testing {
namespace {

constexpr double kLogits = 1e-4;    // max |difference|, float32
constexpr double kGradient = 1e-3;  // norm of the difference over max(norm, 1e-6 of the global norm)

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  GoldenModel()
      : folder(std::string(VOLERY_SOURCE_DIR "/tests/golden/models/") + GetParam()),
        golden(ReadSafetensors(folder + "/golden.safetensors")),
        tiny(LoadModelFolder(folder, at::kFloat)) {}
  // Parameters that the loss doesn't depend on.
  std::set<std::string> Silent() const {
    std::set<std::string> out;
    const std::string path = folder + "/zero_gradients.json";
    if (!std::filesystem::exists(path)) return out;
    for (const auto& names : nlohmann::json::parse(ReadText(path)))
      for (const auto& name : names) out.insert(name.get<std::string>());
    return out;
  }
  static at::Tensor LossOf(const at::Tensor& logits, const at::Tensor& tokens) {
    const int64_t n = tokens.size(1) - 1;
    return at::cross_entropy_loss(logits.narrow(1, 0, n).flatten(0, 1), tokens.narrow(1, 1, n).flatten());
  }
  // Of the loss that has been differentiated; `bound` as kGradient.
  void CompareGradients(const TinyModel& model, double bound) const {
    const std::set<std::string> silent = Silent();
    double global = 0;
    for (const auto& [name, p] : model.parameters)
      if (!silent.contains(name)) global += golden.at("grad." + name).square().sum().item<double>();
    for (const auto& [name, p] : model.parameters) {
      if (silent.contains(name)) {
        EXPECT_FALSE(golden.contains("grad." + name));
        const double norm = p.grad().defined() ? p.grad().norm().item<double>() : 0;
        EXPECT_LE(norm, 1e-6 * std::sqrt(global)) << name;
        continue;
      }
      const at::Tensor& g = golden.at("grad." + name);
      const double scale = std::max(g.norm().item<double>(), 1e-6 * std::sqrt(global));
      ASSERT_TRUE(p.grad().defined()) << name;
      EXPECT_LE((p.grad() - g).norm().item<double>() / scale, bound) << name;
    }
  }
  const std::string folder;
  const native::NamedTensors golden;
  const TinyModel tiny;
};

TEST_P(GoldenModel, ParametersAreThoseOfTheFile) {
  ASSERT_EQ(tiny.model->parameters().size(), tiny.parameters.size());
  for (const native::TensorSpec& spec : tiny.model->parameters())
    EXPECT_EQ(tiny.parameters.at(spec.name).sizes(), at::IntArrayRef(spec.shape)) << spec.name;
}

TEST_P(GoldenModel, LogitsOfBothPaths) {
  const at::Tensor& tokens = golden.at("tokens");
  const at::Tensor trained = TrainLogits(*tiny.model, MakeBatch({tokens[0], tokens[1]}, {-1, -1}));
  EXPECT_LE(MaxDifference(trained.view_as(golden.at("logits")), golden.at("logits")), kLogits);
  Sampler sampler(tiny, at::kFloat);
  for (int64_t row : {0, 1}) {
    const at::Tensor sampled = sampler.Logits(sampler.Read(sampler.Slot(), tokens[row]));
    EXPECT_LE(MaxDifference(sampled, golden.at("logits")[row]), kLogits);
  }
}

TEST_P(GoldenModel, Gradients) {
  const at::Tensor& tokens = golden.at("tokens");
  const at::Tensor logits =
      TrainLogits(*tiny.model, MakeBatch({tokens[0], tokens[1]}, {-1, -1})).view_as(golden.at("logits"));
  const at::Tensor loss = LossOf(logits, tokens);
  EXPECT_NEAR(loss.item<double>(), golden.at("loss").item<double>(), 1e-5);
  loss.backward();
  CompareGradients(tiny, kGradient);
}

// What is left is the references' float32: of what is recorded, or (rotary, transformers) of the arithmetic.
TEST_P(GoldenModel, LogitsAndGradientsInFloat64) {
  const TinyModel exact = LoadModelFolder(folder, at::kDouble);
  const at::Tensor& tokens = golden.at("tokens");
  const at::Tensor logits =
      TrainLogits(*exact.model, MakeBatch({tokens[0], tokens[1]}, {-1, -1})).view_as(golden.at("logits"));
  EXPECT_LE(MaxDifference(logits, golden.at("logits")), 2e-5);
  LossOf(logits, tokens).backward();
  CompareGradients(exact, 2e-4);
}

std::string CaseName(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Transformers, GoldenModel,
                         ::testing::Values("qwen2-tied", "qwen2-untied", "qwen2-yarn", "qwen3", "qwen3-tied",
                                           "llama-tied", "llama-scaled", "llama-bias", "qwen2-yarn-top"),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(GoldFinch, GoldenModel,
                         ::testing::Values("goldfinch", "goldfinch-rope", "goldfinch-half", "goldfinch-1to1",
                                           "finch", "finch-c2", "finch-c2-plain", "finch-c2-gptalpha",
                                           "gptalpha", "llama-like"),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(Rwkv, GoldenModel, ::testing::Values("rwkv5-d64", "rwkv6-d64", "rwkv6-d128"), CaseName);

}  // namespace
}  // namespace volery::testing
