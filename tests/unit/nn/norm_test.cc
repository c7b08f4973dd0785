#include "volery/nn/norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "nn_fixture.h"

namespace volery::nn {
namespace {

at::Tensor PlainNorm(const at::Tensor& x, const at::Tensor& w, double eps) {
  return x * (x.square().mean(-1, true) + eps).rsqrt() * w;
}

TEST(RmsNorm, EqualsItsFormulaWithGradients) {
  for (int64_t width : {5, 16, 37, 64}) {
    at::Tensor x = Random({9, width}, at::kDouble, 1, true), w = Random({width}, at::kDouble, 2, true);
    const at::Tensor expected = PlainNorm(x, w, 1e-3);
    const auto expected_gradients = Gradients(expected, {x, w});
    const at::Tensor y = RmsNorm(x, w, 1e-3);
    EXPECT_LE(Difference(y, expected), 1e-12);
    const auto gradients = Gradients(y, {x, w});
    for (int i : {0, 1}) EXPECT_LE(Difference(gradients[i], expected_gradients[i]), 1e-11);
    at::Tensor xf = x.detach().to(at::kFloat).set_requires_grad(true),
               wf = w.detach().to(at::kFloat).set_requires_grad(true);
    const at::Tensor yf = RmsNorm(xf, wf, 1e-3);
    EXPECT_LE(Difference(yf, expected), 2e-6);
    const auto float_gradients = Gradients(yf, {xf, wf});
    for (int i : {0, 1}) EXPECT_LE(Difference(float_gradients[i], expected_gradients[i]), 3e-5) << width;
    const at::Tensor half = RmsNorm(x.detach().to(at::kBFloat16), w.detach().to(at::kBFloat16), 1e-3);
    EXPECT_LE(Difference(half, expected), 0.05);
  }
}

TEST(RmsNorm, BFloat16RoundsBeforeTheWeight) {
  const at::Tensor x = Random({4, 40}, at::kBFloat16, 1), w = Random({40}, at::kBFloat16, 2);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor expected = (wide * (wide.square().mean(-1, true) + 1e-6).rsqrt()).to(at::kBFloat16) * w;
  EXPECT_LE((RmsNorm(x, w, 1e-6) != expected).sum().item<int64_t>(),
            2);  // a tie of float32 may round otherwise
}

TEST(RmsNorm, HeadsInPlaceTouchTheirColumnsOnly) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
    at::Tensor rows = Random({3, 50}, dtype, 1);
    const at::Tensor before = rows.clone(), w = Random({12}, dtype, 2);
    RmsNormHeadsInPlace(rows, 4, 3, w, 1e-6);
    EXPECT_TRUE(at::equal(rows.narrow(1, 0, 4), before.narrow(1, 0, 4)));
    EXPECT_TRUE(at::equal(rows.narrow(1, 40, 10), before.narrow(1, 40, 10)));
    const at::Tensor expected = RmsNorm(before.narrow(1, 4, 36).reshape({3, 3, 12}), w, 1e-6).view({3, 36});
    EXPECT_TRUE(at::equal(rows.narrow(1, 4, 36), expected));
  }
}

TEST(RmsUnit, EqualsItsFormulaWithGradients) {
  for (int64_t width : {5, 16, 37, 64}) {
    at::Tensor x = Random({9, width}, at::kDouble, 1, true);
    const at::Tensor expected = x / (x.square().mean(-1, true).sqrt() + 1e-8);
    const at::Tensor slope = Gradients(expected, {x})[0];
    const at::Tensor y = RmsUnit(x, 1e-8);
    EXPECT_LE(Difference(y, expected), 1e-12);
    EXPECT_LE(Difference(Gradients(y, {x})[0], slope), 1e-11);
    at::Tensor xf = x.detach().to(at::kFloat).set_requires_grad(true);
    const at::Tensor yf = RmsUnit(xf, 1e-8);
    EXPECT_LE(Difference(yf, expected), 2e-6);
    EXPECT_LE(Difference(Gradients(yf, {xf})[0], slope), 3e-5) << width;
    EXPECT_LE(Difference(RmsUnit(x.detach().to(at::kBFloat16), 1e-8), expected), 0.05);
  }
  // What is added counts where a row is small, as LN0's output is in a new model; rows of zeros stay zeros.
  const at::Tensor small = Random({3, 40}, at::kFloat, 2) * 1e-6;
  const at::Tensor wide = small.to(at::kDouble), root = wide.square().mean(-1, true).sqrt();
  EXPECT_LE(Difference(RmsUnit(small, 1e-7), wide / (root + 1e-7)), 2e-6);
  EXPECT_GT(Difference(RmsUnit(small, 1e-7), wide / root), 0.05);
  EXPECT_TRUE(at::equal(RmsUnit(at::zeros({2, 20}), 1e-8), at::zeros({2, 20})));
}

// The groups of each row on their own, by operators that autograd knows.
at::Tensor PlainGroupNorm(const at::Tensor& x, int64_t groups, const at::Tensor& w, const at::Tensor& b,
                          double eps) {
  const at::Tensor parts = x.view({x.size(0), groups, -1}), d = parts - parts.mean(-1, true);
  const at::Tensor n = (d * (d.square().mean(-1, true) + eps).rsqrt()).view(x.sizes());
  return b.defined() ? n * w + b : n * w;
}

struct NormShape {
  int64_t rows, groups, width;
};
const NormShape kShapes[] = {{1, 1, 5},   {3, 1, 16}, {9, 1, 37},   {300, 1, 64},
                             {2, 1, 577}, {7, 3, 20}, {300, 2, 64}, {1, 40, 1}};

TEST(LayerNorm, EqualsItsFormulaWithGradients) {
  for (const auto& [rows, groups, width] : kShapes)
    for (bool with_bias : {true, false}) {
      const int64_t columns = groups * width;
      at::Tensor x = (Random({rows, columns}, at::kDouble, 1) + 0.7).requires_grad_(),
                 w = Random({columns}, at::kDouble, 2, true),
                 b = with_bias ? Random({columns}, at::kDouble, 3, true) : at::Tensor();
      const at::Tensor expected = PlainGroupNorm(x, groups, w, b, 1e-3);
      const auto inputs = [&](at::ScalarType dtype) {
        std::vector<at::Tensor> out;
        for (const at::Tensor& t : {x, w, b})
          if (t.defined()) out.push_back(t.detach().to(dtype).requires_grad_());
        return out;
      };
      std::vector<at::Tensor> all = {x, w};
      if (with_bias) all.push_back(b);
      const auto expected_gradients = Gradients(expected, all);
      // Bounds for y, dx and the sums over rows: float32's rounding times the sizes of what is added.
      for (auto [dtype, bound] :
           {std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 5e-6), std::pair(at::kBFloat16, 0.04)}) {
        const auto in = inputs(dtype);
        const at::Tensor y = GroupNorm(in[0], groups, in[1], with_bias ? in[2] : at::Tensor(), 1e-3);
        const double size = expected.abs().max().item<double>();
        EXPECT_EQ(y.scalar_type(), dtype);
        EXPECT_LE(Difference(y, expected), bound * std::max(1.0, size)) << rows << " " << columns;
        if (dtype == at::kBFloat16) continue;  // inputs differ: compared below
        const auto gradients = Gradients(y, in);
        for (size_t i = 0; i < in.size(); i++) {
          const double largest = expected_gradients[i].abs().max().item<double>();
          EXPECT_LE(Difference(gradients[i], expected_gradients[i]), bound * std::max(1.0, largest))
              << rows << " " << groups << " " << width << " input " << i << " " << dtype;
        }
      }
    }
}

TEST(LayerNorm, BFloat16RoundsOnceAndItsGradientsAreThoseOfItsInputs) {
  at::Tensor x = Random({30, 3 * 37}, at::kBFloat16, 1, true), w = Random({3 * 37}, at::kBFloat16, 2, true),
             b = Random({3 * 37}, at::kBFloat16, 3, true);
  std::vector<at::Tensor> wide;
  for (const at::Tensor& t : {x, w, b}) wide.push_back(t.detach().to(at::kDouble).requires_grad_());
  const at::Tensor y = GroupNorm(x, 3, w, b, 1e-5),
                   expected = PlainGroupNorm(wide[0], 3, wide[1], wide[2], 1e-5);
  EXPECT_LE((y.detach() != expected.detach().to(at::kBFloat16)).sum().item<int64_t>(), 3);  // ties
  const auto gradients = Gradients(y, {x, w, b}), expected_gradients = Gradients(expected, wide);
  for (int i : {0, 1, 2}) {
    const double largest = expected_gradients[i].abs().max().item<double>();
    EXPECT_LE(Difference(gradients[i], expected_gradients[i]), 0x1p-7 * largest) << i;  // of dy, and its own
  }
}

TEST(LayerNorm, IsAsCloseAsLibTorchsWhereTheMeanIsLarge) {
  for (double mean : {0.0, 1.0, 100.0, 5000.0})
    for (int64_t width : {64, 577, 2048}) {
      const at::Tensor x = (Random({50, width}, at::kDouble, 1) + mean).to(at::kFloat);
      const at::Tensor w = at::ones({width}), b = at::zeros({width});
      const at::Tensor exact = at::layer_norm(x.to(at::kDouble), {width});
      const double own = Difference(LayerNorm(x, w, b, 1e-5), exact),
                   aten = Difference(at::layer_norm(x, {width}, w, b), exact);
      EXPECT_LE(own, 1.5 * aten) << mean << " " << width;
    }
}

TEST(LayerNorm, ConstantRowsGiveTheBias) {
  const at::Tensor w = Random({37}, at::kFloat, 1), b = Random({37}, at::kFloat, 2);
  for (double value : {0.0, 0.1, -12345.678}) {
    const at::Tensor y = LayerNorm(at::full({2, 37}, value), w, b, 1e-5);
    EXPECT_LE(Difference(y, b.expand({2, 37})), std::abs(value) * 1e-4);
  }
}

TEST(LayerNorm, RefusesWhatDoesNotFit) {
  const at::Tensor x = Random({2, 12}, at::kFloat, 1), w = Random({12}, at::kFloat, 2);
  EXPECT_THROW(LayerNorm(x, w.narrow(0, 0, 6), w, 1e-5), c10::Error);
  EXPECT_THROW(LayerNorm(x, w, w.narrow(0, 0, 6), 1e-5), c10::Error);
  EXPECT_THROW(LayerNorm(x, w.to(at::kBFloat16), w, 1e-5), c10::Error);
  EXPECT_THROW(GroupNorm(x, 5, w, w, 1e-5), c10::Error);
  EXPECT_THROW(GroupNorm(x, 0, w, w, 1e-5), c10::Error);
}

using Norm = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b)>;
struct NamedNorm {
  const char* name;
  Norm norm;
};
std::vector<NamedNorm> Norms() {
  return {{"rms", [](auto& x, auto& w, auto&) { return RmsNorm(x, w, 1e-5); }},
          {"layer", [](auto& x, auto& w, auto& b) { return LayerNorm(x, w, b, 1e-5); }},
          {"group", [](auto& x, auto& w, auto& b) { return GroupNorm(x, 3, w, b, 1e-5); }}};
}

TEST(Norms, RowsHaveTheSameBitsAloneAndOnAnyThreads) {
  const int64_t rows = 300, width = 3 * 193;
  for (const auto& [name, norm] : Norms())
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor x = Random({rows, width}, dtype, 1), dy = Random({rows, width}, dtype, 2);
      const auto run = [&](int64_t begin, int64_t count) {
        at::Tensor part = x.narrow(0, begin, count).clone().requires_grad_();
        at::Tensor w = Random({width}, dtype, 3, true), b = Random({width}, dtype, 4, true);
        const at::Tensor y = norm(part, w, b);
        y.backward(dy.narrow(0, begin, count));
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(y, norm(part, w, b))) << name << ": sampling differs from training";
        return std::vector<at::Tensor>{y.detach(), part.grad(), w.grad(), b.grad()};
      };
      std::vector<at::Tensor> whole;
      for (int threads : {1, 2, 5}) {
        const Threads scope(threads);
        const auto now = run(0, rows);
        if (whole.empty()) whole = now;
        for (size_t i = 0; i < whole.size(); i++)
          if (now[i].defined()) {
            EXPECT_TRUE(at::equal(now[i], whole[i])) << name << " " << i << ", " << threads << " threads";
          }
      }
      for (int64_t row : {0, 1, 17, 299}) {
        const auto alone = run(row, 1);
        for (int i : {0, 1})
          EXPECT_TRUE(at::equal(alone[i], whole[i].narrow(0, row, 1))) << name << " row " << row;
      }
    }
}

TEST(Norms, WeightGradientsDontDependOnTheCutsOfABatch) {
  const at::Tensor x = Random({40, 39}, at::kFloat, 1), dy = Random({40, 39}, at::kFloat, 2);
  for (const auto& [name, norm] : Norms()) {
    const auto run = [&](std::vector<int64_t> cuts) {
      at::Tensor w = Random({39}, at::kFloat, 3, true), b = Random({39}, at::kFloat, 4, true);
      for (at::Tensor& t : std::vector<at::Tensor>{w, b}) t.mutable_grad() = at::zeros_like(t);
      int64_t begin = 0;
      for (int64_t end : cuts) {
        norm(x.narrow(0, begin, end - begin), w, b).backward(dy.narrow(0, begin, end - begin));
        begin = end;
      }
      return std::pair(w.grad(), b.grad());
    };
    const auto whole = run({40}), parts = run({7, 8, 40});
    EXPECT_TRUE(at::equal(whole.first, parts.first) && at::equal(whole.second, parts.second)) << name;
    EXPECT_GT(whole.first.abs().max().item<double>(), 0.1);
  }
}

TEST(Norms, LeaveFrozenWeightsAlone) {
  at::Tensor x = Random({4, 12}, at::kFloat, 1, true), w = Random({12}, at::kFloat, 2),
             b = Random({12}, at::kFloat, 3, true);
  w.mutable_grad() = at::zeros_like(w);
  LayerNorm(x, w, b, 1e-5).sum().backward();
  EXPECT_EQ(w.grad().abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(b.grad(), at::full({12}, 4.0f)));
}

}  // namespace
}  // namespace volery::nn
