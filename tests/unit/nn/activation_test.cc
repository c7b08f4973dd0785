#include "volery/nn/activation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "nn_fixture.h"
#include "volery/nn/linear.h"
#include "volery/nn/norm.h"

namespace volery::nn {
namespace {

using Unary = std::function<at::Tensor(const at::Tensor&)>;
struct NamedUnary {
  const char* name;
  Unary own, aten;
};
std::vector<NamedUnary> Unaries() {
  return {{"gelu", [](auto& x) { return Gelu(x, GeluForm::kExact); }, [](auto& x) { return at::gelu(x); }},
          {"gelu tanh", [](auto& x) { return Gelu(x, GeluForm::kTanh); },
           [](auto& x) { return at::gelu(x, "tanh"); }},
          {"squared relu", SquaredRelu, [](auto& x) { return at::relu(x).square(); }},
          {"sigmoid", Sigmoid, [](auto& x) { return at::sigmoid(x); }},
          {"tanh", Tanh, [](auto& x) { return at::tanh(x); }}};
}

using Binary = std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>;
struct NamedBinary {
  const char* name;
  Binary own, aten;
};
std::vector<NamedBinary> Gates() {
  return {{"silu", SiluGate, [](auto& g, auto& u) { return at::silu(g) * u; }},
          {"gelu", [](auto& g, auto& u) { return GeluGate(g, u, GeluForm::kExact); },
           [](auto& g, auto& u) { return at::gelu(g) * u; }},
          {"gelu tanh", [](auto& g, auto& u) { return GeluGate(g, u, GeluForm::kTanh); },
           [](auto& g, auto& u) { return at::gelu(g, "tanh") * u; }},
          {"sigmoid", SigmoidGate, [](auto& g, auto& u) { return at::sigmoid(g) * u; }}};
}

std::vector<at::Tensor> As(const std::vector<at::Tensor>& tensors, at::ScalarType dtype) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& t : tensors) out.push_back(t.detach().to(dtype).requires_grad_());
  return out;
}

// The largest |a - b| / max(1, |b|).
double Error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.detach().to(at::kDouble);
  return ((a.detach().to(at::kDouble) - exact) / exact.abs().clamp_min(1)).abs().max().item<double>();
}

TEST(Activation, EqualsItsFormulaWithGradients) {
  for (const auto& [name, own, aten] : Unaries())
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{1, 5}, {9, 37}, {300, 64}, {2, 3, 577}, {1}}) {
      const std::vector<at::Tensor> base = {Random(shape, at::kFloat, 1) * 3};
      const auto exact = As(base, at::kDouble);
      const at::Tensor expected = aten(exact[0]);
      const auto expected_gradient = Gradients(expected, exact)[0];
      for (auto [dtype, bound] : {std::pair(at::kDouble, 1e-14), std::pair(at::kFloat, 1e-6)}) {
        const auto in = As(base, dtype);
        const at::Tensor y = own(in[0]);
        EXPECT_LE(Error(y, expected), bound) << name << " " << dtype;
        EXPECT_LE(Error(Gradients(y, in)[0], expected_gradient), 2 * bound) << name << " " << dtype;
      }
      const auto half = As(base, at::kBFloat16), wide = As(half, at::kDouble);
      EXPECT_LE(Error(own(half[0]), aten(wide[0])), 0x1p-8) << name;  // one rounding
      EXPECT_LE(Error(Gradients(own(half[0]), half)[0], Gradients(aten(wide[0]), wide)[0]), 0x1p-6) << name;
    }
}

TEST(Gate, EqualsItsFormulaWithGradients) {
  for (const auto& [name, own, aten] : Gates())
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{1, 5}, {7, 45}, {300, 64}}) {
      const std::vector<at::Tensor> base = {Random(shape, at::kFloat, 1) * 3, Random(shape, at::kFloat, 2)};
      const auto exact = As(base, at::kDouble);
      const at::Tensor expected = aten(exact[0], exact[1]);
      const auto expected_gradients = Gradients(expected, exact);
      for (auto [dtype, bound] : {std::pair(at::kDouble, 1e-13), std::pair(at::kFloat, 1e-6)}) {
        const auto in = As(base, dtype);
        const at::Tensor y = own(in[0], in[1]);
        EXPECT_LE(Error(y, expected), bound) << name << " " << dtype;
        const auto gradients = Gradients(y, in);
        for (int i : {0, 1}) EXPECT_LE(Error(gradients[i], expected_gradients[i]), 2 * bound) << name;
      }
      const auto half = As(base, at::kBFloat16), wide = As(half, at::kDouble);
      EXPECT_LE(Error(own(half[0], half[1]), aten(wide[0], wide[1])), 0x1p-7) << name;  // two roundings
    }
}

TEST(Gate, FusedRowsHaveTheSameBits) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor g = Random({7, 45}, dtype, 1), u = Random({7, 45}, dtype, 2), both = at::cat({g, u}, 1);
    EXPECT_TRUE(at::equal(SiluGateFused(both), SiluGate(g, u)));
    for (GeluForm form : {GeluForm::kExact, GeluForm::kTanh})
      EXPECT_TRUE(at::equal(GeluGateFused(both, form), GeluGate(g, u, form)));
  }
  const at::Tensor wild =
      at::tensor({-200.0f, -90.0f, -20.0f, -1e-3f, 0.0f, 3.0f, 95.0f, 300.0f}).view({1, 8});
  EXPECT_LE(
      Difference(SiluGateFused(at::cat({wild, at::ones_like(wild)}, 1)), at::silu(wild.to(at::kDouble))),
      1e-4);
}

TEST(Gate, RefusesWhatDoesNotFit) {
  const at::Tensor g = Random({2, 12}, at::kFloat, 1);
  EXPECT_THROW(SiluGate(g, Random({2, 13}, at::kFloat, 1)), c10::Error);
  EXPECT_THROW(SiluGate(g, Random({2, 12}, at::kBFloat16, 1)), c10::Error);
  EXPECT_THROW(SiluGateFused(Random({2, 13}, at::kFloat, 1)), c10::Error);
}

TEST(Activation, RowsHaveTheSameBitsAloneAndOnAnyThreads) {
  const int64_t rows = 300, width = 193;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = Random({rows, width}, dtype, 1), up = Random({rows, width}, dtype, 2),
                     dy = Random({rows, width}, dtype, 3);
    const auto check = [&](const char* name, const Binary& f) {
      const auto run = [&](int64_t begin, int64_t count) {
        at::Tensor g = x.narrow(0, begin, count).clone().requires_grad_(),
                   u = up.narrow(0, begin, count).clone().requires_grad_();
        const at::Tensor y = f(g, u);
        y.backward(dy.narrow(0, begin, count));
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(y, f(g, u))) << name << ": sampling differs from training";
        return std::vector<at::Tensor>{y.detach(), g.grad(), u.grad().defined() ? u.grad() : g.grad()};
      };
      std::vector<at::Tensor> whole;
      for (int threads : {1, 2, 5}) {
        const Threads scope(threads);
        const auto now = run(0, rows);
        if (whole.empty()) whole = now;
        for (int i : {0, 1, 2})
          EXPECT_TRUE(at::equal(now[i], whole[i])) << name << ", " << threads << " threads";
      }
      for (int64_t row : {0, 1, 17, 299}) {
        const auto alone = run(row, 1);
        for (int i : {0, 1, 2})
          EXPECT_TRUE(at::equal(alone[i], whole[i].narrow(0, row, 1))) << name << " row " << row;
      }
    };
    for (const auto& unary : Unaries()) check(unary.name, [&](auto& g, auto&) { return unary.own(g); });
    for (const auto& gate : Gates()) check(gate.name, gate.own);
  }
}

// The example of sdk/nn/README.md.
TEST(FeedForward, TrainingAndSamplingHaveTheSameBitsForEveryBatch) {
  const int64_t width = 40, inner = 77, rows = 150;
  const NamedTensors w = {{"key", Random({inner, width}, at::kFloat, 1)},
                          {"gate", Random({width, width}, at::kFloat, 2)},
                          {"value", Random({width, inner}, at::kFloat, 3)}};
  const LinearSpec key{"key", "", width, inner}, gate{"gate", "", width, width},
      value{"value", "", inner, width};
  const at::Tensor norm_weight = Random({width}, at::kFloat, 4), norm_bias = Random({width}, at::kFloat, 5);
  const auto linears = MakeLinearFactory();
  const auto train_key = linears->Make(key, w), train_gate = linears->Make(gate, w),
             train_value = linears->Make(value, w);
  const auto train = [&](const at::Tensor& x) {
    const at::Tensor h = LayerNorm(x, norm_weight, norm_bias, 1e-5);
    return x + SigmoidGate(train_gate->Forward(h), train_value->Forward(SquaredRelu(train_key->Forward(h))));
  };
  const auto gate_key = linears->Pack({gate, key}, w), packed_value = linears->Pack({value}, w);
  const auto sample = [&](const at::Tensor& x) {
    const at::NoGradGuard no_grad;
    const at::Tensor both = gate_key->Forward(LayerNorm(x, norm_weight, norm_bias, 1e-5));
    const at::Tensor k = SquaredRelu(both.narrow(1, width, inner));
    return x + SigmoidGate(both.narrow(1, 0, width), packed_value->Forward(k));
  };
  const at::Tensor x = Random({rows, width}, at::kFloat, 6, true), trained = train(x).detach();
  EXPECT_TRUE(at::equal(sample(x), trained));
  for (int64_t count : {1, 2, 7, 64})
    for (int64_t begin : {0L, 31L, rows - count})
      EXPECT_TRUE(at::equal(sample(x.narrow(0, begin, count)), trained.narrow(0, begin, count)))
          << count << " rows from " << begin;
}

}  // namespace
}  // namespace volery::nn
