#include "volery/nn/wkv.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "nn_fixture.h"
#include "volery/nn/linear.h"

namespace volery::nn {
namespace {

// What record_rwkv.py wrote: one sequence of 37 tokens, 2 heads of 32, float64.
NamedTensors Recorded() {
  const std::string path = VOLERY_SOURCE_DIR "/tests/golden/models/wkv_op.safetensors";
  const auto file = base::MappedFile::Open(path);
  EXPECT_TRUE(file.ok());
  const auto view = formats::ParseSafetensors((*file)->bytes(), path);
  EXPECT_TRUE(view.ok());
  NamedTensors out;
  for (const auto& t : view->tensors) {
    at::Tensor tensor = at::empty(t.shape, at::kDouble);
    std::memcpy(tensor.data_ptr(), t.bytes.data(), t.bytes.size());
    out[t.name] = tensor;
  }
  return out;
}

constexpr int64_t kHeads = 2, kSize = 32, kRow = kHeads * kSize;

class WkvGolden : public ::testing::TestWithParam<const char*> {};

// Relative error: norm of the difference over the norm.
double Relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor exact = b.to(at::kDouble).flatten();
  return ((a.to(at::kDouble).flatten() - exact).norm() / exact.norm().clamp_min(1e-30)).item<double>();
}

TEST_P(WkvGolden, ForwardAndAllGradients) {
  const std::string name = GetParam();
  const NamedTensors golden = Recorded();
  const auto load = [&](const std::string& key, at::IntArrayRef shape, at::ScalarType dtype) {
    return golden.at(key).reshape(shape).to(dtype).clone().set_requires_grad(true);
  };
  for (const auto& [dtype, bound] : {std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 2e-5)}) {
    const bool constant = name == "v5";
    const std::vector<int64_t> rows = {37, kRow};
    WkvInputs in{load("r", rows, dtype), load("k", rows, dtype), load("v", rows, dtype),
                 constant ? load(name + ".omega", {kHeads, kSize}, dtype) : load(name + ".omega", rows, dtype),
                 name == "c2" ? at::Tensor() : load("u", {kHeads, kSize}, dtype)};
    const at::Tensor s0 = load("s0", {1, kHeads, kSize, kSize}, dtype);
    const at::Tensor grad_y = golden.at("grad_y").reshape(rows).to(dtype),
                     grad_final = golden.at("grad_final")[0].to(dtype);
    const std::vector<std::pair<std::string, at::Tensor>> inputs = {
        {"r", in.r}, {"k", in.k}, {"v", in.v}, {"omega", in.decay}, {"u", in.u}, {"s0", s0}};
    const auto check = [&](const char* form) {
      for (const auto& [key, tensor] : inputs) {
        if (!tensor.defined()) continue;
        EXPECT_LE(Relative(tensor.grad(), golden.at(name + ".grad_" + key)), 5 * bound) << form << key << dtype;
        at::Tensor(tensor).mutable_grad() = at::Tensor();
      }
    };
    at::Tensor end;
    const at::Tensor chunked = WkvChunked(in, kHeads, s0[0], &end);
    EXPECT_LE(Relative(chunked, golden.at(name + ".y")), bound);
    EXPECT_LE(Relative(end, golden.at(name + ".final")), bound);
    ((chunked * grad_y).sum() + (end * grad_final).sum()).backward();
    check("chunked ");
    // The scan gives no gradient to the final state itself: a child of one token for each of its rows reads it.
    std::vector<SegmentRange> segments = {{0, 37, -1}};
    for (int64_t i = 0; i < kSize; i++) segments.push_back({37 + i, 38 + i, 0});
    const auto with_readers = [&](const at::Tensor& x, const at::Tensor& readers) { return at::cat({x, readers}); };
    const at::Tensor nothing = at::zeros({kSize, kRow}, at::dtype(dtype)),
                     unit = at::eye(kSize, at::dtype(dtype)).repeat({1, kHeads});
    const WkvInputs all{with_readers(in.r, unit), with_readers(in.k, nothing), with_readers(in.v, nothing),
                        constant ? in.decay : with_readers(in.decay, nothing), in.u};
    const at::Tensor initial = at::cat({s0, at::zeros({kSize, kHeads, kSize, kSize}, at::dtype(dtype))});
    at::Tensor finals;
    const at::Tensor y = WkvSegments(segments, 37 + kSize).Scan(all, kHeads, initial, &finals);
    EXPECT_LE(Relative(y.narrow(0, 0, 37), golden.at(name + ".y")), bound) << dtype;
    EXPECT_LE(Relative(finals[0], golden.at(name + ".final")), bound) << dtype;
    const at::Tensor read = grad_final.transpose(0, 1).reshape({kSize, kRow});  // [key, head and value]
    (y * at::cat({grad_y, read})).sum().backward();
    check("scan ");
  }
}

INSTANTIATE_TEST_SUITE_P(Recorded, WkvGolden, ::testing::Values("soft", "hard", "v5", "c2"));

struct Case {
  WkvInputs in;
  at::Tensor initial;
  std::vector<at::Tensor> All() const {
    std::vector<at::Tensor> out = {in.r, in.k, in.v, in.decay, initial};
    if (in.u.defined()) out.push_back(in.u);
    return out;
  }
};
// Decays from nearly 1 to 6e-6.
Case MakeCase(int64_t tokens, int64_t heads, int64_t size, int64_t segments, at::ScalarType dtype, bool constant,
              bool bonus, bool scale_key) {
  const int64_t row = heads * size;
  const auto leaf = [&](const at::Tensor& x) { return x.to(dtype).set_requires_grad(true); };
  const at::Tensor decay =
      at::rand({constant ? 1 : tokens, row}, at::detail::createCPUGenerator(4), at::dtype(at::kDouble)) * 8.5 - 6;
  Case out;
  out.in = {leaf(Random({tokens, row}, at::kDouble, 1)), leaf(Random({tokens, row}, at::kDouble, 2)),
            leaf(Random({tokens, row}, at::kDouble, 3)),
            leaf(constant ? decay.view({heads, size}) : decay),
            bonus ? leaf(Random({heads, size}, at::kDouble, 5)) : at::Tensor(), scale_key};
  out.initial = leaf(Random({segments, heads, size, size}, at::kDouble, 6));
  return out;
}

const std::vector<SegmentRange> kTree = {{0, 37, -1}, {37, 38, 0},  {38, 70, 0},
                                         {70, 86, -1}, {86, 103, 2}, {103, 150, 3}};

// The scan over a tree of segments against the chunked form in float64, with gradients through the hand-over of
// states.
TEST(Wkv, ScanOfSegmentsEqualsTheChunkedForm) {
  for (bool constant : {false, true})
    for (bool bonus : {false, true})
      for (bool scale_key : {false, true}) {
        const auto segments = static_cast<int64_t>(kTree.size());
        const Case exact = MakeCase(150, 3, 48, segments, at::kDouble, constant, bonus, scale_key),
                   single = MakeCase(150, 3, 48, segments, at::kFloat, constant, bonus, scale_key);
        const WkvSegments scan(kTree, 150);
        at::Tensor final_exact, final_single;
        const at::Tensor expected = scan.Scan(exact.in, 3, exact.initial, &final_exact),
                         y = scan.Scan(single.in, 3, single.initial, &final_single);
        EXPECT_LE(Relative(y, expected), 1e-6);
        EXPECT_LE(Relative(final_single, final_exact), 1e-6);
        const auto wanted = Gradients(expected, exact.All()), found = Gradients(y, single.All());
        // The decay's gradient is a difference of sums.
        for (size_t i = 0; i < wanted.size(); i++)
          EXPECT_LE(Relative(found[i], wanted[i]), i == 3 ? 3e-5 : 3e-6) << i << constant << bonus << scale_key;
      }
}

TEST(Wkv, BFloat16FollowsItsRoundedInputs) {
  const auto segments = static_cast<int64_t>(kTree.size());
  const Case half = MakeCase(150, 2, 32, segments, at::kBFloat16, false, true, true);
  Case wide = half;
  for (at::Tensor* x : {&wide.in.r, &wide.in.k, &wide.in.v, &wide.in.decay, &wide.in.u, &wide.initial})
    *x = x->detach().to(at::kDouble).set_requires_grad(true);
  const WkvSegments scan(kTree, 150);
  const at::Tensor y = scan.Scan(half.in, 2, half.initial), expected = scan.Scan(wide.in, 2, wide.initial);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_LE(Relative(y, expected), 0x1p-8);
  const auto wanted = Gradients(expected, wide.All()), found = Gradients(y, half.All());
  for (size_t i = 0; i < wanted.size(); i++) EXPECT_LE(Relative(found[i], wanted[i]), 0x1p-7) << i;
}

// One slot, cut anywhere, beside others, has the bits of the training scan.
TEST(Wkv, SlotsHaveTheBitsOfTheScanWhateverTheCut) {
  const at::NoGradGuard no_grad;
  const Case a = MakeCase(90, 2, 64, 1, at::kFloat, false, true, false);
  const at::Tensor whole = WkvSegments({{0, 90, -1}}, 90).Scan(a.in, 2, a.initial);
  for (int threads : {1, 2}) {
    const Threads guard(threads);
    for (int64_t cut : {1, 5, 16, 33, 90}) {
      std::vector<at::Tensor> states = {a.initial[0].clone(), at::zeros({2, 64, 64})};
      std::vector<at::Tensor> parts;
      for (int64_t t = 0; t < 90; t += cut) {
        const int64_t n = std::min(cut, 90 - t);
        const auto part = [&](const at::Tensor& x) { return at::cat({x.narrow(0, t, n), x.narrow(0, 3, 7)}); };
        const std::vector<int64_t> counts = {n, 7};
        parts.push_back(
            WkvSlots({part(a.in.r), part(a.in.k), part(a.in.v), part(a.in.decay), a.in.u}, 2, counts, states)
                .narrow(0, 0, n));
      }
      EXPECT_TRUE(at::equal(at::cat(parts), whole)) << cut << " " << threads;
    }
  }
}

// A group's gradients don't depend on what else is in the batch, and add up in place.
TEST(Wkv, GradientsAddInPlaceSegmentAfterSegment) {
  const auto run = [](const std::vector<std::vector<SegmentRange>>& batches) {
    Case c = MakeCase(80, 2, 32, 1, at::kFloat, true, true, false);
    c.in.u.mutable_grad() = at::zeros_like(c.in.u);
    c.in.decay.mutable_grad() = at::zeros_like(c.in.decay);
    int64_t begin = 0;
    for (const auto& segments : batches) {
      const int64_t tokens = segments.back().end;
      const auto part = [&](const at::Tensor& x) { return x.detach().narrow(0, begin, tokens); };
      const at::Tensor y = WkvSegments(segments, tokens)
                               .Scan({part(c.in.r), part(c.in.k), part(c.in.v), c.in.decay, c.in.u}, 2, {});
      y.backward(part(c.in.v));
      begin += tokens;
    }
    return at::cat({c.in.u.grad(), c.in.decay.grad()});
  };
  EXPECT_TRUE(at::equal(run({{{0, 30, -1}, {30, 50, -1}, {50, 80, -1}}}),
                        run({{{0, 30, -1}}, {{0, 20, -1}, {20, 50, -1}}})));
}

TEST(Wkv, RefusesWhatItCantCompute) {
  const WkvSegments scan({{0, 4, -1}}, 4);
  const auto rows = [](int64_t width) { return at::ones({4, width}); };
  const auto run = [&](int64_t width, int64_t heads) {
    scan.Scan({rows(width), rows(width), rows(width), rows(width), {}}, heads, {});
  };
  EXPECT_NO_THROW(run(32, 2));
  EXPECT_THROW(run(40, 2), c10::Error);    // heads of 20
  EXPECT_THROW(run(288, 2), c10::Error);   // heads of 144
  EXPECT_THROW(run(32, 3), c10::Error);
  EXPECT_THROW(scan.Scan({rows(32), rows(32), rows(48), rows(32), {}}, 2, {}), c10::Error);
  EXPECT_THROW(scan.Scan({rows(32), rows(32), rows(32), rows(16), {}}, 2, {}), c10::Error);
  EXPECT_THROW(scan.Scan({rows(32), rows(32), rows(32), rows(32), {}}, 2, at::zeros({1, 2, 16, 8})), c10::Error);
}

TEST(Wkv, KeepsNotANumber) {
  Case c = MakeCase(20, 1, 16, 1, at::kFloat, false, true, false);
  at::Tensor k = c.in.k.detach().clone();
  k[3][5] = NAN;
  const at::NoGradGuard no_grad;
  const at::Tensor y =
      WkvSegments({{0, 20, -1}}, 20).Scan({c.in.r, k, c.in.v, c.in.decay, c.in.u}, 1, c.initial);
  EXPECT_FALSE(at::isnan(y.narrow(0, 0, 3)).any().item<bool>());
  EXPECT_TRUE(at::isnan(y.narrow(0, 3, 2)).all().item<bool>());
}

}  // namespace
}  // namespace volery::nn
