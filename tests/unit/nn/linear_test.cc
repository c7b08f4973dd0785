#include "volery/nn/linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "nn_fixture.h"
#include "volery/nn/initialise.h"

namespace volery::nn {
namespace {

at::Tensor Random(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kFloat) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::dtype(at::kDouble)).to(dtype);
}

struct Model {
  int64_t in, out;
  NamedTensors tensors;
  std::unique_ptr<LinearFactory> factory = MakeLinearFactory();
  LinearSpec spec;

  Model(int64_t in, int64_t out, at::ScalarType dtype = at::kFloat)
      : in(in),
        out(out),
        tensors{{"w", Random({out, in}, 1, dtype)}, {"b", Random({out}, 2, dtype)}},
        spec{"w", "b", in, out} {}
  at::Tensor Exact(const at::Tensor& x) const {
    return at::linear(x.to(at::kDouble), tensors.at("w").to(at::kDouble), tensors.at("b").to(at::kDouble));
  }
};

TEST(Linear, TrainingAndSamplingHaveTheBitsOfOneProduct) {
  for (auto [rows, in, out] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {5, 37, 70}, {40, 700, 130}, {300, 129, 64}, {7, 600, 3}}) {
    Model m(in, out);
    const at::Tensor x = Random({rows, in}, 3);
    const at::Tensor packed = m.factory->Pack({m.spec}, m.tensors)->Forward(x);
    EXPECT_LE(Difference(packed, m.Exact(x)), 3e-6 * static_cast<double>(in))
        << rows << " " << in << " " << out;
    for (int threads : {1, 2, 3}) {
      const Threads scope(threads);
      EXPECT_TRUE(at::equal(m.factory->Make(m.spec, m.tensors)->Forward(x), packed)) << threads << " threads";
      EXPECT_TRUE(at::equal(m.factory->Pack({m.spec}, m.tensors)->Forward(x), packed))
          << threads << " threads";
    }
  }
}

TEST(Linear, ARowDependsOnItselfOnly) {
  Model m(96, 200);
  const at::Tensor x = Random({256, 96}, 4);
  const auto packed = m.factory->Pack({m.spec}, m.tensors);
  const at::Tensor all = packed->Forward(x);
  for (int64_t rows : {1, 2, 5, 6, 7, 12, 13, 24, 48, 49, 100, 255})
    for (int64_t first : {int64_t{0}, 256 - rows})
      EXPECT_TRUE(at::equal(packed->Forward(x.narrow(0, first, rows)), all.narrow(0, first, rows)))
          << rows << " from " << first;
}

TEST(Linear, WidensBFloat16WeightsExactly) {
  Model m(300, 90, at::kBFloat16);
  const at::Tensor x = Random({9, 300}, 5, at::kBFloat16);
  const at::Tensor y = m.factory->Pack({m.spec}, m.tensors)->Forward(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  Model wide(300, 90);
  for (auto& [name, tensor] : wide.tensors) tensor = m.tensors.at(name).to(at::kFloat);
  EXPECT_TRUE(at::equal(
      y, wide.factory->Pack({wide.spec}, wide.tensors)->Forward(x.to(at::kFloat)).to(at::kBFloat16)));
}

TEST(Linear, GivesItsRowsBack) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Model m(33, 150, dtype);
    const NamedTensors both = {{"w", m.tensors.at("w")}, {"v", Random({20, 33}, 12, dtype)}};
    for (const auto& factory : {MakeLinearFactory(), MakeAtenLinearFactory()}) {
      const auto packed = factory->Pack({{"w", "", 33, 150}, {"v", "", 33, 20}}, both);
      const at::Tensor rows = at::tensor({0, 149, 63, 64, 150, 169}, at::kLong);
      EXPECT_TRUE(
          at::equal(packed->WeightRows(rows), at::cat({both.at("w"), both.at("v")}).index_select(0, rows)))
          << dtype;
    }
  }
}

struct Gradients {
  at::Tensor x, w, b;
};

Gradients RunBackward(Model& m, const at::Tensor& x, const at::Tensor& dy,
                      at::ScalarType dtype = at::kFloat) {
  at::Tensor input = x.to(dtype).detach().requires_grad_();
  NamedTensors parameters;
  for (const auto& [name, tensor] : m.tensors) parameters[name] = tensor.to(dtype).detach().requires_grad_();
  m.factory->Make(m.spec, parameters)->Forward(input).backward(dy.to(dtype));
  return {input.grad(), parameters.at("w").grad(), parameters.at("b").grad()};
}

TEST(Linear, GradientsAreThoseOfFloat64) {
  for (auto [rows, in, out] :
       std::vector<std::array<int64_t, 3>>{{1, 5, 3}, {33, 70, 100}, {200, 600, 65}, {64, 64, 1100}}) {
    Model m(in, out);
    const at::Tensor x = Random({rows, in}, 6), dy = Random({rows, out}, 7);
    const Gradients got = RunBackward(m, x, dy), exact = RunBackward(m, x, dy, at::kDouble);
    EXPECT_LE(Difference(got.x, exact.x), 3e-6 * static_cast<double>(out));
    EXPECT_LE(Difference(got.w, exact.w), 3e-6 * static_cast<double>(rows));
    EXPECT_LE(Difference(got.b, exact.b), 3e-6 * static_cast<double>(rows));
    const Threads one(1);
    EXPECT_TRUE(at::equal(RunBackward(m, x, dy).x, got.x));
    EXPECT_TRUE(at::equal(RunBackward(m, x, dy).w, got.w));
  }
}

TEST(Linear, BFloat16GradientsFollowFloat64AndAddToWhatIsThere) {
  Model m(40, 70, at::kBFloat16);
  const at::Tensor x = Random({30, 40}, 6, at::kBFloat16), dy = Random({30, 70}, 7, at::kBFloat16);
  const Gradients got = RunBackward(m, x, dy, at::kBFloat16), exact = RunBackward(m, x, dy, at::kDouble);
  EXPECT_LE(Difference(got.x, exact.x), 0.2);
  EXPECT_LE(Difference(got.w, exact.w), 0.2);
  at::Tensor w = m.tensors.at("w").clone().requires_grad_();
  w.mutable_grad() = at::ones_like(w);
  const at::Tensor held = w.grad();
  m.factory->Make({"w", "", 40, 70}, {{"w", w}})->Forward(x).backward(dy);
  EXPECT_TRUE(w.grad().is_same(held));
  EXPECT_LE(Difference(w.grad(), exact.w + 1), 0.3);
}

TEST(Linear, WeightGradientsDontDependOnTheCutsOfABatch) {
  Model m(50, 70);
  const at::Tensor x = Random({90, 50}, 8), dy = Random({90, 70}, 9);
  const auto run = [&](std::vector<int64_t> cuts) {
    at::Tensor w = m.tensors.at("w").clone().requires_grad_();
    w.mutable_grad() = at::zeros_like(w);
    const NamedTensors parameters = {{"w", w}};
    const auto linear = m.factory->Make({"w", "", 50, 70}, parameters);
    int64_t begin = 0;
    for (int64_t end : cuts) {
      linear->Forward(x.narrow(0, begin, end - begin)).backward(dy.narrow(0, begin, end - begin));
      begin = end;
    }
    return w.grad();
  };
  const at::Tensor whole = run({90});
  EXPECT_LE(Difference(whole, at::mm(dy.t().to(at::kDouble), x.to(at::kDouble))), 1e-4);
  EXPECT_TRUE(at::equal(run({1, 40, 90}), whole));
  EXPECT_TRUE(at::equal(run({89, 90}), whole));
}

TEST(Linear, BFloat16TrainsIntoFloat32Gradients) {
  const int64_t rows = 40, in = 96, out = 70;
  Model m(in, out, at::kBFloat16);
  const at::Tensor x = Random({rows, in}, 6, at::kBFloat16), dy = Random({rows, out}, 7, at::kBFloat16);
  NamedTensors exact;
  for (const auto& [name, tensor] : m.tensors) exact[name] = tensor.to(at::kDouble).detach().requires_grad_();
  at::Tensor exact_x = x.to(at::kDouble).detach().requires_grad_();
  MakeAtenLinearFactory()->Make(m.spec, exact)->Forward(exact_x).backward(dy.to(at::kDouble));
  for (bool dots : {false, true}) {
    NamedTensors leaves;
    for (const auto& [name, tensor] : m.tensors) {
      at::Tensor leaf = tensor.detach().clone().requires_grad_();
      leaf.mutable_grad() = at::ones(leaf.sizes(), at::kFloat);
      leaves[name] = leaf;
    }
    at::Tensor input = x.detach().requires_grad_();
    const auto linear = MakeLinearFactory(dots)->Make(m.spec, leaves);
    const at::Tensor y = linear->Forward(input);
    if (!dots) {
      EXPECT_TRUE(at::equal(y, m.factory->Pack({m.spec}, m.tensors)->Forward(x)));
    }
    y.backward(dy);
    // Rounded to bfloat16 by native products only.
    const double bound = dots ? 0.2 : 1e-4;
    for (const char* name : {"w", "b"}) {
      EXPECT_EQ(leaves.at(name).grad().scalar_type(), at::kFloat);
      EXPECT_LE(Difference(leaves.at(name).grad() - 1, exact.at(name).grad()), bound) << name << " " << dots;
    }
    EXPECT_LE(Difference(input.grad(), exact_x.grad()), 0.2);
  }
}

// A matrix held transposed, or as one of several in a tensor, is the matrix: forward, packed, and gradients,
// which go to its part only.
TEST(Linear, TakesTransposedMatricesAndPartsOfATensor) {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const int64_t in = 70, out = 90;
    const at::Tensor w = Random({out, in}, 21, dtype), x = Random({11, in}, 22, dtype), dy = Random({11, out}, 23, dtype);
    NamedTensors tensors = {{"plain", w.clone()},
                            {"turned", w.t().contiguous()},
                            {"parts", at::stack({Random({in, out}, 24, dtype), w.t()}).contiguous()},
                            {"b", Random({1, 1, out}, 25, dtype)}};
    for (auto& [name, tensor] : tensors) tensor.set_requires_grad(true);
    const std::vector<LinearSpec> specs = {
        {"plain", "b", in, out}, {"turned", "b", in, out, true}, {"parts", "b", in, out, true, 2, 1}};
    const auto factory = MakeLinearFactory(/*bfloat16_dots=*/false);
    at::Tensor expected, expected_dx, expected_dw;
    for (const LinearSpec& spec : specs) {
      at::Tensor input = x.clone().set_requires_grad(true);
      const at::Tensor y = factory->Make(spec, tensors)->Forward(input);
      y.backward(dy);
      at::Tensor dw = tensors.at(spec.weight).grad();
      if (spec.parts > 0) {
        EXPECT_EQ(dw[0].abs().max().item<double>(), 0);
        dw = dw[1];
      }
      if (spec.transposed) dw = dw.t();
      {
        const at::NoGradGuard no_grad;
        EXPECT_LE(Difference(factory->Pack({spec}, tensors)->Forward(x), y), 1e-12) << spec.weight << dtype;
      }
      if (!expected.defined()) expected = y, expected_dx = input.grad(), expected_dw = dw;
      EXPECT_LE(Difference(y, expected), 1e-12) << spec.weight << dtype;
      EXPECT_LE(Difference(input.grad(), expected_dx), 1e-5) << spec.weight << dtype;
      EXPECT_LE(Difference(dw, expected_dw), 1e-5) << spec.weight << dtype;
    }
    EXPECT_LE(Difference(tensors.at("b").grad().view({-1}), dy.to(at::kDouble).sum(0) * 3),
              dtype == at::kBFloat16 ? 0.2 : 1e-4);
  }
  const NamedTensors wrong = {{"w", at::ones({3, 4})}};
  EXPECT_THROW(MakeLinearFactory()->Make({"w", "", 4, 3, true}, wrong), std::invalid_argument);
  EXPECT_THROW(MakeLinearFactory()->Make({"w", "", 4, 3, false, 2, 0}, wrong), std::invalid_argument);
}

TEST(Initialise, DrawsUniformAndOrthogonalMatrices) {
  at::Tensor u = at::empty({300, 70});
  FillUniform(u, 0.25, 3, "u");
  EXPECT_LE(u.abs().max().item<double>(), 0.25);
  EXPECT_NEAR(u.mean().item<double>(), 0, 0.005);
  EXPECT_NEAR(u.std().item<double>(), 0.25 / std::sqrt(3.0), 0.002);
  for (auto [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{40, 40}, {90, 30}, {30, 90}}) {
    at::Tensor q = at::empty({rows, columns}), again = at::empty({rows, columns}), other = again.clone();
    FillOrthogonal(q, 2, 3, "q");
    FillOrthogonal(again, 2, 3, "q");
    FillOrthogonal(other, 2, 4, "q");
    EXPECT_TRUE(at::equal(q, again));
    EXPECT_FALSE(at::equal(q, other));
    const at::Tensor square = rows > columns ? q.t().mm(q) : q.mm(q.t());
    EXPECT_LE(Difference(square, at::eye(std::min(rows, columns)) * 4), 1e-5);
  }
}

}  // namespace
}  // namespace volery::nn
