#include "core/training/head.h"

#include <gtest/gtest.h>

#include "golden.h"
#include "tiny_model.h"

namespace volery::training {
namespace {

// The head of a model whose hidden rows are its logits.
class PassThrough : public TinyModel {
 public:
  explicit PassThrough(int64_t vocabulary) {
    info_.vocabulary = vocabulary;
    info_.width = vocabulary;
  }
  const native::ModelInfo& info() const override { return info_; }
  at::Tensor Logits(const at::Tensor& hidden) override { return hidden * 1; }

 private:
  native::ModelInfo info_;
};

at::Tensor Matrix(const nlohmann::json& rows) {
  std::vector<double> flat;
  for (const auto& row : rows) {
    for (double value : row) flat.push_back(value);
  }
  return at::tensor(flat, at::kDouble).view({static_cast<int64_t>(rows.size()), -1});
}

data::MicroBatch Targets(const nlohmann::json& vector) {
  data::MicroBatch batch;
  for (size_t row = 0; row < vector["logits"].size(); ++row) {
    batch.rows.push_back(static_cast<int64_t>(row));
    batch.temperatures.push_back(vector["temperatures"][row]);
  }
  for (const auto& target : vector["targets"]) batch.targets.push_back({target[0], target[1], 0, 0});
  return batch;
}

class HeadTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(HeadTest, AgreesWithTheRecordingForEverySliceSize) {
  const nlohmann::json golden = ReadGolden("head.json");
  ASSERT_EQ(golden["vectors"].size(), 3u);
  for (const auto& vector : golden["vectors"]) {
    const std::string name = vector["name"];
    const at::Tensor logits = Matrix(vector["logits"]);
    PassThrough model(logits.size(1));
    const Head head(model, {vector["vocabulary"], GetParam()});
    const data::MicroBatch batch = Targets(vector);
    std::vector<double> l, h;
    head.Evaluate(logits, batch, l, h);
    // Temperatures are float32 in the product: 1.7f is not 1.7.
    ExpectNear(l, vector["logprob"], 1e-6, name);
    ExpectNear(h, vector["entropy"], 1e-6, name);
    const auto gradient_l = vector["gradient_logprob"].get<std::vector<double>>(),
               gradient_h = vector["gradient_entropy"].get<std::vector<double>>();
    const at::Tensor gradient =
        head.Backward(logits, batch, [&](auto targets, auto now_l, auto now_h, auto out_l, auto out_h) {
          for (size_t i = 0; i < targets.size(); ++i) {
            const auto t = static_cast<size_t>(targets[i]);
            EXPECT_NEAR(now_l[i], l[t], 1e-12);
            EXPECT_NEAR(now_h[i], h[t], 1e-12);
            out_l[i] = gradient_l[t];
            out_h[i] = gradient_h[t];
          }
        });
    EXPECT_LT((gradient - Matrix(vector["gradient_logits"])).abs().max().item<double>(), 1e-6) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(SliceRows, HeadTest, ::testing::Values(0, 1, 2, 3, 100));

TEST(Head, L2WrapAddsWhatRwkvsDoes) {
  const nlohmann::json golden = ReadGolden("l2wrap.json");
  const auto targets = golden["targets"].get<std::vector<int32_t>>();
  const auto rows = static_cast<double>(targets.size());
  data::MicroBatch batch;
  for (size_t row = 0; row < targets.size(); ++row) {
    batch.rows.push_back(static_cast<int64_t>(row));
    batch.temperatures.push_back(1);
    batch.targets.push_back({static_cast<int32_t>(row), targets[row], 0, 0});
  }
  const auto mean = [&](auto now, auto, auto, auto out, auto) {
    for (size_t i = 0; i < now.size(); ++i) out[i] = -1 / rows;
  };
  TinyModel model;
  const at::Tensor hidden = Matrix(golden["hidden"]);
  for (const int64_t slice : {0, 3}) {
    at::Tensor matrix = Matrix(golden["head"]).requires_grad_();
    model.Bind({{"head", matrix}});
    const Head head(model, {TinyModel::kVocabulary, slice});
    const auto far = [](const at::Tensor& a, const at::Tensor& b) {
      return (a - b).abs().max().item<double>();
    };
    EXPECT_LT(far(head.Backward(hidden, batch, mean), Matrix(golden["hidden_gradient_without"])), 1e-12);
    matrix.mutable_grad() = at::zeros_like(matrix);
    const at::Tensor gradient = head.Backward(hidden, batch, mean, golden["factor"].get<double>() / rows);
    EXPECT_LT(far(gradient, Matrix(golden["hidden_gradient"])), 1e-12);
    EXPECT_LT(far(matrix.grad(), Matrix(golden["head_gradient"])), 1e-12);
  }
}

TEST(Head, Bfloat16LogitsAreNormalisedInFloat32) {
  PassThrough model(8);
  const at::Tensor logits = (at::arange(16, at::kFloat).view({2, 8}) * 0.37).to(at::kBFloat16);
  data::MicroBatch batch;
  batch.rows = {0, 1};
  batch.temperatures = {1, 1};
  batch.targets = {{0, 2, 0, 0}, {1, 7, 0, 1}};
  std::vector<double> l, h;
  Head(model, {8, 0}).Evaluate(logits, batch, l, h);
  const at::Tensor expected = at::log_softmax(logits.to(at::kFloat), 1);
  EXPECT_NEAR(l[0], expected[0][2].item<double>(), 1e-6);
  EXPECT_NEAR(l[1], expected[1][7].item<double>(), 1e-6);
}

}  // namespace
}  // namespace volery::training
