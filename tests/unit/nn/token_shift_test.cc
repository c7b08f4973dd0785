#include "volery/nn/token_shift.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "nn_fixture.h"

namespace volery::nn {
namespace {

const std::vector<SegmentRange> kTree = {{0, 7, -1}, {7, 8, 0}, {8, 20, 0}, {20, 25, -1}, {25, 33, 2}};
constexpr int64_t kTokens = 33, kWidth = 70;

struct Case {
  at::Tensor z, initial;
  std::vector<MixStream> streams;
  std::vector<at::Tensor> All() const {
    std::vector<at::Tensor> out = {z, initial};
    for (const MixStream& s : streams) {
      out.push_back(s.mu);
      if (s.m.defined()) out.push_back(s.m);
    }
    return out;
  }
};
Case MakeCase(at::ScalarType dtype) {
  const auto leaf = [&](at::IntArrayRef shape, uint64_t seed) { return Random(shape, dtype, seed, true); };
  return {leaf({kTokens, kWidth}, 1),
          leaf({static_cast<int64_t>(kTree.size()), kWidth}, 2),
          {{leaf({1, 1, kWidth}, 3), leaf({kTokens, kWidth}, 4)}, {leaf({kWidth}, 5), {}}, {leaf({1, 1, kWidth}, 6), {}}}};
}

// Row by row, from the definition.
std::vector<at::Tensor> ByDefinition(const Case& c, MuOf of) {
  std::vector<at::Tensor> out;
  for (const MixStream& s : c.streams) {
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < kTree.size(); i++)
      for (int64_t t = kTree[i].begin; t < kTree[i].end; t++) {
        const at::Tensor before = t > kTree[i].begin      ? c.z[t - 1]
                                  : kTree[i].parent >= 0 ? c.z[kTree[kTree[i].parent].end - 1]
                                                         : c.initial[static_cast<int64_t>(i)];
        at::Tensor share = s.mu.view({-1});
        if (of == MuOf::kCurrent) share = 1 - share;
        if (s.m.defined()) share = share + s.m[t];
        rows.push_back(c.z[t] + (before - c.z[t]) * share);
      }
    out.push_back(at::stack(rows));
  }
  return out;
}

TEST(TokenShift, EqualsItsDefinitionWithGradients) {
  for (MuOf of : {MuOf::kBefore, MuOf::kCurrent}) {
    const Case exact = MakeCase(at::kDouble);
    const at::Tensor expected = at::cat(ByDefinition(exact, of), 1);
    const auto wanted = Gradients(expected, exact.All());
    for (const auto& [dtype, bound] : {std::pair(at::kDouble, 1e-13), std::pair(at::kFloat, 3e-5)}) {
      const Case c = MakeCase(dtype);
      const at::Tensor y = at::cat(TokenShift(kTree, kTokens).Mix(c.z, c.streams, of, c.initial), 1);
      EXPECT_LE(Difference(y, expected), bound);
      const auto found = Gradients(y, c.All());
      for (size_t i = 0; i < wanted.size(); i++) EXPECT_LE(Difference(found[i], wanted[i]), bound) << i << dtype;
    }
  }
}

TEST(TokenShift, WithoutAnInitialRowTheFirstFollowsZeros) {
  Case c = MakeCase(at::kFloat);
  const at::NoGradGuard no_grad;
  const TokenShift shift(kTree, kTokens);
  const auto a = shift.Mix(c.z, c.streams, MuOf::kBefore, {}),
             b = shift.Mix(c.z, c.streams, MuOf::kBefore, at::zeros_like(c.initial));
  for (size_t i = 0; i < a.size(); i++) EXPECT_TRUE(at::equal(a[i], b[i]));
}

TEST(TokenShift, SlotsHaveTheBitsOfTheBatchWhateverTheCut) {
  const at::NoGradGuard no_grad;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Case c = MakeCase(dtype);
    const auto whole = TokenShift({{0, kTokens, -1}}, kTokens).Mix(c.z, c.streams, MuOf::kBefore, {});
    for (int64_t cut : {1, 4, 33}) {
      const std::vector<at::Tensor> states = {at::zeros({kWidth}, c.z.options()), c.initial[0].clone()};
      std::vector<at::Tensor> parts;
      for (int64_t t = 0; t < kTokens; t += cut) {
        const int64_t n = std::min(cut, kTokens - t);
        const auto part = [&](const at::Tensor& x) { return at::cat({x.narrow(0, t, n), x.narrow(0, 2, 3)}); };
        std::vector<MixStream> streams;
        for (const MixStream& s : c.streams) streams.push_back({s.mu, s.m.defined() ? part(s.m) : s.m});
        const std::vector<int64_t> counts = {n, 3};
        const at::Tensor z = part(c.z);
        const auto peeked = PeekSlots(z, counts, states, streams, MuOf::kBefore);
        const auto mixed = MixSlots(z, counts, states, streams, MuOf::kBefore);
        for (size_t i = 0; i < mixed.size(); i++) EXPECT_TRUE(at::equal(peeked[i], mixed[i]));
        parts.push_back(mixed[0].narrow(0, 0, n));
        EXPECT_TRUE(at::equal(states[0], c.z[t + n - 1]));
      }
      EXPECT_TRUE(at::equal(at::cat(parts), whole[0])) << cut << " " << dtype;
    }
    const at::Tensor before = at::cat({at::zeros({1, kWidth}, c.z.options()), c.z.narrow(0, 0, kTokens - 1)});
    const auto rows = MixRows(c.z, before, c.streams, MuOf::kBefore);
    for (size_t i = 0; i < rows.size(); i++) EXPECT_TRUE(at::equal(rows[i], whole[i])) << dtype;
    EXPECT_THROW(MixRows(c.z, before.narrow(0, 1, kTokens - 1), c.streams, MuOf::kBefore), c10::Error);
  }
}

TEST(TokenShift, RefusesWrongShapes) {
  const TokenShift shift({{0, 4, -1}}, 4);
  const at::Tensor mu = at::ones({8});
  EXPECT_THROW(shift.Mix(at::ones({5, 8}), {{mu, {}}}, MuOf::kBefore, {}), c10::Error);
  EXPECT_THROW(shift.Mix(at::ones({4, 9}), {{mu, {}}}, MuOf::kBefore, {}), c10::Error);
  EXPECT_THROW(shift.Mix(at::ones({4, 8}), {{mu, at::ones({3, 8})}}, MuOf::kBefore, {}), c10::Error);
  EXPECT_THROW(shift.Mix(at::ones({4, 8}), {{mu.to(at::kDouble), {}}}, MuOf::kBefore, {}), c10::Error);
  EXPECT_THROW(TokenShift({{0, 3, -1}}, 4), std::invalid_argument);
}

}  // namespace
}  // namespace volery::nn
