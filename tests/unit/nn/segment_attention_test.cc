#include "volery/nn/segment_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "nn_fixture.h"
#include "volery/nn/slot_cache.h"

namespace volery::nn {
namespace {

// One softmax over an explicit [T, T] mask.
at::Tensor DenseAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const std::vector<SegmentRange>& segments, double scale) {
  const int64_t tokens = q.size(0), group = q.size(1) / k.size(1);
  at::Tensor allowed = at::zeros({tokens, tokens}, at::kBool);
  for (const SegmentRange& s : segments) {
    allowed.narrow(0, s.begin, s.end - s.begin)
        .narrow(1, s.begin, s.end - s.begin)
        .copy_(at::ones({s.end - s.begin, s.end - s.begin}, at::kBool).tril());
    for (int64_t p = s.parent; p >= 0; p = segments[p].parent)
      allowed.narrow(0, s.begin, s.end - s.begin)
          .narrow(1, segments[p].begin, segments[p].end - segments[p].begin)
          .fill_(true);
  }
  const at::Tensor scores = at::einsum("thd,shd->hts", {q, k.repeat_interleave(group, 1)}) * scale;
  const at::Tensor p = at::softmax(scores.masked_fill(allowed.logical_not(), -INFINITY), -1);
  return at::einsum("hts,shd->thd", {p, v.repeat_interleave(group, 1)}).reshape({tokens, -1});
}

TEST(SegmentAttention, EqualsDenseMaskWithGradients) {
  const std::vector<std::vector<SegmentRange>> layouts = {
      {{0, 40, -1}},
      {{0, 10, -1}, {10, 11, -1}, {11, 40, -1}},
      {{0, 8, -1}, {8, 14, 0}, {14, 17, 0}, {17, 23, 0}, {23, 30, -1}, {30, 33, 4}, {33, 40, 1}}};
  for (const auto& segments : layouts) {
    at::Tensor q = Random({40, 6, 8}, at::kDouble, 1, true), k = Random({40, 2, 8}, at::kDouble, 2, true),
               v = Random({40, 2, 8}, at::kDouble, 3, true);
    const at::Tensor expected = DenseAttention(q, k, v, segments, 0.4);
    const auto expected_gradients = Gradients(expected, {q, k, v});
    const SegmentAttention attention(segments, 40, at::kDouble, at::kCPU);
    const at::Tensor y = attention.Attend(q, k, v, 0.4);
    EXPECT_LE(Difference(y, expected), 1e-12);
    const auto gradients = Gradients(y, {q, k, v});
    for (int i = 0; i < 3; i++) EXPECT_LE(Difference(gradients[i], expected_gradients[i]), 1e-11);
  }
}

TEST(SegmentAttention, RefusesWrongSegments) {
  const auto make = [](std::vector<SegmentRange> s) { SegmentAttention(s, 10, at::kFloat, at::kCPU); };
  EXPECT_THROW(make({{0, 9, -1}}), std::invalid_argument);
  EXPECT_THROW(make({{0, 5, -1}, {6, 10, -1}}), std::invalid_argument);
  EXPECT_THROW(make({{0, 5, 1}, {5, 10, -1}}), std::invalid_argument);
  EXPECT_THROW(make({{0, 5, -1}, {5, 5, -1}, {5, 10, -1}}), std::invalid_argument);
}

const std::vector<SegmentRange> kGroup = {
    {0, 70, -1}, {70, 100, 0}, {100, 105, 0}, {105, 235, 0}, {235, 300, 2}};

TEST(SegmentAttention, KernelsEqualFloat64) {
  struct Case {
    int64_t heads, kv_heads, dim;
    at::ScalarType dtype;
    double bound, gradient_bound;
  };
  for (const Case& c : {Case{9, 3, 64, at::kFloat, 4e-6, 4e-5},
                        {4, 4, 12, at::kFloat, 4e-6, 4e-5},
                        {4, 1, 80, at::kFloat, 4e-6, 4e-5},
                        {2, 1, 192, at::kFloat, 4e-6, 4e-5},
                        {6, 2, 64, at::kBFloat16, 2e-2, 0.2}}) {
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    std::vector<at::Tensor> exact, own;
    for (int64_t heads : {c.heads, c.kv_heads, c.kv_heads}) {
      own.push_back(Random({300, heads, c.dim}, c.dtype, 7 + own.size(), true));
      exact.push_back(own.back().detach().to(at::kDouble).set_requires_grad(true));
    }
    const at::Tensor expected = DenseAttention(exact[0], exact[1], exact[2], kGroup, scale);
    const auto expected_gradients = Gradients(expected, exact);
    const at::Tensor y =
        SegmentAttention(kGroup, 300, c.dtype, at::kCPU).Attend(own[0], own[1], own[2], scale);
    EXPECT_LE(Difference(y, expected), c.bound) << c.dim;
    const auto gradients = Gradients(y, own);
    for (int i = 0; i < 3; i++)
      EXPECT_LE(Difference(gradients[i], expected_gradients[i]), c.gradient_bound) << c.dim << " input " << i;
  }
}

TEST(SegmentAttention, HasTheBitsOfDecoding) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor qkv = Random({300, 10 * 24}, dtype, 3);
    const auto part = [&](int64_t head, int64_t count) {
      return qkv.narrow(1, head * 24, count * 24).reshape({300, count, 24});
    };
    const at::Tensor y =
        SegmentAttention(kGroup, 300, dtype, at::kCPU).Attend(part(0, 6), part(6, 2), part(8, 2), 0.2);
    const auto cache = SlotCache::Make({1, 6, 2, 24}, dtype, at::kCPU);
    std::vector<int64_t> slots;
    for (const SegmentRange& segment : kGroup) {
      slots.push_back(segment.parent < 0 ? cache->Allocate(8) : cache->Fork(slots[segment.parent], 8));
      for (int64_t at = segment.begin; at < segment.end;) {  // row by row, then a chunk
        const int64_t rows = at - segment.begin < 3 ? 1 : segment.end - at;
        const std::vector<SlotRows> chunk = {{slots.back(), rows}};
        cache->Reserve(chunk);
        const at::Tensor expected = cache->Attend(0, chunk, qkv.narrow(0, at, rows), 0.2);
        cache->Commit(chunk);
        EXPECT_TRUE(at::equal(y.narrow(0, at, rows), expected)) << dtype << " row " << at;
        at += rows;
      }
    }
  }
}

TEST(SegmentAttention, GradientsDependOnTheOwnFamilyOnly) {
  // The group alone, and between two others, on one thread and on two.
  const auto run = [](int64_t before, int64_t after) {
    std::vector<SegmentRange> segments = {{0, before, -1}};
    if (before == 0) segments.clear();
    const auto first = static_cast<int64_t>(segments.size());
    for (const SegmentRange& s : kGroup)
      segments.push_back({s.begin + before, s.end + before, s.parent < 0 ? -1 : s.parent + first});
    if (after > 0) segments.push_back({before + 300, before + 300 + after, -1});
    std::vector<at::Tensor> inputs;
    for (int64_t heads : {6, 2, 2}) {
      std::vector<at::Tensor> parts = {Random({before, heads, 16}, at::kFloat, 1),
                                       Random({300, heads, 16}, at::kFloat, 2 + inputs.size()),
                                       Random({after, heads, 16}, at::kFloat, 9)};
      inputs.push_back(at::cat(parts).set_requires_grad(true));
    }
    const int64_t tokens = before + 300 + after;
    const at::Tensor y = SegmentAttention(segments, tokens, at::kFloat, at::kCPU)
                             .Attend(inputs[0], inputs[1], inputs[2], 0.25);
    const at::Tensor weight = at::zeros_like(y);
    weight.narrow(0, before, 300).copy_(Random({300, y.size(1)}, at::kFloat, 12));
    (y * weight).sum().backward();
    std::vector<at::Tensor> out = {y.detach().narrow(0, before, 300)};
    for (const at::Tensor& x : inputs) out.push_back(x.grad().narrow(0, before, 300));
    return out;
  };
  const auto on = [&](int threads, int64_t before, int64_t after) {
    const Threads set(threads);
    return run(before, after);
  };
  const auto expected = on(1, 0, 0), pooled = on(2, 0, 0), between = on(2, 33, 100);
  for (size_t i = 0; i < expected.size(); i++) {
    EXPECT_TRUE(at::equal(pooled[i], expected[i])) << i;
    EXPECT_TRUE(at::equal(between[i], expected[i])) << i;
  }
}

}  // namespace
}  // namespace volery::nn
