#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "isa.h"

namespace volery::nn {
namespace {

using kernels::Activation;
using kernels::Element;
using kernels::Table;

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

struct Exact {
  double value, slope;
};
Exact At(Activation f, double x) {
  const double pi = std::acos(-1.0);
  switch (f) {
    case Activation::kSilu:
      return {x * Sigmoid(x), Sigmoid(x) * (1 + x * Sigmoid(-x))};
    case Activation::kGelu: {
      const double p = std::erfc(-x / std::sqrt(2.0)) / 2;
      return {x * p, p + x * std::exp(-x * x / 2) / std::sqrt(2 * pi)};
    }
    case Activation::kGeluTanh: {
      if (std::abs(x) > 100) return {x > 0 ? x : 0, x > 0 ? 1.0 : 0.0};  // to the last bit of float64
      const double k = std::sqrt(2 / pi), u = k * (x + 0.044715 * x * x * x), t = std::tanh(u);
      return {x * Sigmoid(2 * u), (1 + t) / 2 + x / 2 * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x)};
    }
    case Activation::kSquaredRelu:
      return {x > 0 ? x * x : 0, x > 0 ? 2 * x : 0};
    case Activation::kSigmoid:
      return {Sigmoid(x), Sigmoid(x) * Sigmoid(-x)};
    case Activation::kTanh:
      return {std::tanh(x), 1 / std::cosh(x) / std::cosh(x)};
  }
  return {};
}

struct Bounds {
  Activation f;
  double value, slope;  // errors; of the value over max(1, |x|), or relative where `relative`
  bool relative;
};

class Activations : public ::testing::TestWithParam<Bounds> {
 protected:
  static std::vector<float> Values(std::vector<float> x) {
    std::vector<float> y(x.size());
    const long n = static_cast<long>(x.size());
    TableFor(Element::kF32).activate(GetParam().f, {x.data(), y.data(), n, n, 1, n}, nullptr, 0);
    return y;
  }
  static std::vector<float> Slopes(std::vector<float> x) {
    std::vector<float> dx(x.size()), dy(x.size(), 1);
    const long n = static_cast<long>(x.size());
    TableFor(Element::kF32)
        .activate_backward(GetParam().f, {x.data(), nullptr, dy.data(), dx.data(), nullptr, n});
    return dx;
  }
};

TEST_P(Activations, StayWithinTheirErrorForAllExponents) {
  const Bounds& bounds = GetParam();
  std::vector<float> x;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 4099) {
    const uint32_t word = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &word, 4);
    if (std::abs(value) < 1e19f) x.push_back(value);  // its square is finite; false for NaN
  }
  const std::vector<float> y = Values(x), dx = Slopes(x);
  for (size_t i = 0; i < x.size(); i++) {
    const auto [value, slope] = At(bounds.f, static_cast<double>(x[i]));
    const double size =
        bounds.relative ? std::abs(value) : std::max(1.0, std::abs(static_cast<double>(x[i])));
    ASSERT_NEAR(static_cast<double>(y[i]), value, bounds.value * size + 1e-36) << x[i];
    ASSERT_NEAR(static_cast<double>(dx[i]), slope, bounds.slope * std::max(1.0, std::abs(slope))) << x[i];
  }
}

TEST_P(Activations, KeepNotANumberAndTakeTheLargest) {
  const float largest = std::numeric_limits<float>::max(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x(37, 1.0f);  // a full step and a rest
  x[3] = x[35] = nan;
  const std::vector<float> y = Values(x), dx = Slopes(x);
  for (size_t i = 0; i < x.size(); i++) {
    EXPECT_EQ(std::isnan(y[i]), std::isnan(x[i])) << i;
    EXPECT_EQ(std::isnan(dx[i]), std::isnan(x[i])) << i;
  }
  for (float high : {1e30f, largest}) {
    const std::vector<float> ends = Values({-high, high}), slopes = Slopes({-high, high});
    EXPECT_LE(std::abs(ends[0] + (GetParam().f == Activation::kTanh)), 1e-34f);
    EXPECT_FALSE(std::isnan(ends[1]));
    EXPECT_LE(std::abs(slopes[0]), 1e-34f);
    EXPECT_FALSE(std::isnan(slopes[1]));
  }
}

INSTANTIATE_TEST_SUITE_P(All, Activations,
                         ::testing::Values(Bounds{Activation::kSilu, 1.5e-7, 1.1e-6, false},
                                           Bounds{Activation::kGelu, 1.5e-7, 2.5e-7, false},
                                           Bounds{Activation::kGeluTanh, 1.5e-7, 2.5e-7, false},
                                           Bounds{Activation::kSquaredRelu, 6e-8, 0, true},
                                           Bounds{Activation::kSigmoid, 2e-7, 1e-7, true},
                                           Bounds{Activation::kTanh, 2.5e-7, 3e-7, true}));

}  // namespace
}  // namespace volery::nn
