#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "nn_fixture.h"
#include "volery/nn/embedding.h"
#include "volery/nn/initialise.h"
#include "volery/nn/linear.h"
#include "volery/nn/rotary.h"
#include "volery/nn/slot_cache.h"
#include "volery/nn/softmax.h"
#include "volery/nn/tiled_attention.h"

namespace volery::nn {
namespace {

TEST(Embedding, EqualsLibTorchsAndAddsToTheGradientThatIsThere) {
  const at::Tensor tokens = at::tensor({3, 0, 3, 6}, at::kLong), dy = Random({4, 5}, at::kFloat, 2);
  const auto run = [&](auto embed, bool held) {
    at::Tensor w = Random({7, 5}, at::kFloat, 1, true);
    if (held) w.mutable_grad() = at::ones_like(w);
    const at::Tensor y = embed(w, tokens);
    y.backward(dy);
    return std::pair(y.detach(), w.grad());
  };
  const auto own = [](const at::Tensor& w, const at::Tensor& t) { return Embedding(w, t); };
  const auto aten = [](const at::Tensor& w, const at::Tensor& t) { return at::embedding(w, t); };
  for (bool held : {false, true}) {
    EXPECT_TRUE(at::equal(run(own, held).first, run(aten, held).first));
    EXPECT_LE(Difference(run(own, held).second, run(aten, held).second), 1e-6);
  }
}

TEST(SoftmaxRows, GivesTheGradientOfLogProbsAndEntropyAsAutogradDoes) {
  const std::vector<float> temperature = {1, 0.7f, 2, 1, 1};
  const std::vector<int64_t> target = {3, 0, 2000, 41, 7};
  const int64_t columns = 2001;
  for (bool warm : {false, true})
    for (at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
      const at::Tensor logits = (Random({5, columns + 3}, at::kDouble, 1) * 4).to(dtype);
      const std::span<const float> t = warm ? std::span<const float>(temperature) : std::span<const float>();
      at::Tensor x = logits.to(at::kDouble).requires_grad_();
      at::Tensor z = x.narrow(1, 0, columns);
      if (warm) z = z / at::tensor(temperature).to(at::kDouble).unsqueeze(1);
      const at::Tensor l = at::log_softmax(z, 1), entropy = -(l.exp() * l).sum(1);
      const at::Tensor own = l.gather(1, at::tensor(target).unsqueeze(1)).squeeze(1);
      const at::Tensor dl = Random({5}, at::kDouble, 2), dh = Random({5}, at::kDouble, 3);
      (own * dl + entropy * dh).sum().backward();

      const auto rows = SoftmaxRows(logits, columns, t);
      at::Tensor gradient = logits.clone();
      std::vector<RowGradient> sums;
      for (int64_t i = 0; i < 5; i++) {
        EXPECT_NEAR(rows[i].log_partition, z[i].logsumexp(0).item<double>(), 1e-6);
        EXPECT_NEAR(rows[i].entropy, entropy[i].item<double>(), 2e-6);
        sums.push_back({dl[i].item<double>(), dh[i].item<double>()});
      }
      SoftmaxGradientInPlace(gradient, columns, t, rows, sums);
      for (int64_t i = 0; i < 5; i++)
        gradient[i][target[i]] += dl[i].item<double>() / (warm ? temperature[i] : 1);
      const double bound = dtype == at::kDouble ? 1e-14 : dtype == at::kFloat ? 1e-6 : 2e-2;
      EXPECT_LE(Difference(gradient, x.grad()), bound) << dtype;
      EXPECT_EQ(gradient.narrow(1, columns, 3).abs().max().item<double>(), 0);
    }
}

TEST(SoftmaxRows, KeepsNotANumber) {
  at::Tensor logits = at::zeros({2, 40});
  logits[1][33] = std::numeric_limits<float>::quiet_NaN();
  const auto rows = SoftmaxRows(logits, 40, {});
  EXPECT_NEAR(rows[0].log_partition, std::log(40.0), 1e-6);
  EXPECT_TRUE(std::isnan(rows[1].log_partition));
}

TEST(Rotary, EqualsComplexMultiplication) {
  const Rotary rotary(RotarySpec{.head_dim = 20, .theta = 1000});
  const at::Tensor positions = at::tensor(std::vector<int64_t>{0, 3, 500, 7});
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    at::Tensor x = Random({4, 3, 20}, dtype, 1, true);
    const RotaryRows rows = rotary.Rows(positions, dtype);
    const at::Tensor y = ApplyRotary(x, rows);
    for (int64_t i = 0; i < 10; i++) {
      const at::Tensor angle =
          positions.to(at::kDouble) * std::pow(1000.0, -2.0 * static_cast<double>(i) / 20);
      const at::Tensor a = x.detach().select(2, i).to(at::kDouble),
                       b = x.detach().select(2, i + 10).to(at::kDouble);
      const at::Tensor c = angle.cos().unsqueeze(1), s = angle.sin().unsqueeze(1);
      EXPECT_LE(Difference(y.select(2, i), a * c - b * s), 1e-4);
      EXPECT_LE(Difference(y.select(2, i + 10), b * c + a * s), 1e-4);
    }
    // A rotation keeps norms, and its gradient turns back.
    EXPECT_LE(Difference(ApplyRotary(Gradients(y, {x})[0], rows), Random(y.sizes(), at::kDouble, 99)), 1e-5);
    at::Tensor flat = x.detach().reshape({4, 60}).clone();
    ApplyRotaryInPlace(flat, 2, 20, rows);
    EXPECT_TRUE(at::equal(flat.narrow(1, 0, 40), y.detach().reshape({4, 60}).narrow(1, 0, 40)));
    EXPECT_TRUE(at::equal(flat.narrow(1, 40, 20), x.detach().reshape({4, 60}).narrow(1, 40, 20)));
  }
  EXPECT_THROW(rotary.Rows(at::tensor(std::vector<int64_t>{-1}), at::kFloat), std::invalid_argument);
}

TEST(Rotary, ScalingKinds) {
  const std::vector<float> plain = InverseFrequencies({.head_dim = 64, .theta = 1e4});
  RotarySpec spec{.head_dim = 64, .theta = 1e4, .kind = RotarySpec::Kind::kLinear, .factor = 4};
  EXPECT_FLOAT_EQ(InverseFrequencies(spec)[5], plain[5] / 4);
  EXPECT_EQ(AttentionFactor(spec), 1);
  spec.kind = RotarySpec::Kind::kLlama3;
  spec.original_context = 1024;
  EXPECT_FLOAT_EQ(InverseFrequencies(spec).front(), plain.front());    // short waves stay
  EXPECT_FLOAT_EQ(InverseFrequencies(spec).back(), plain.back() / 4);  // long ones are stretched
  spec.kind = RotarySpec::Kind::kYarn;
  EXPECT_FLOAT_EQ(InverseFrequencies(spec).front(), plain.front());
  EXPECT_FLOAT_EQ(InverseFrequencies(spec).back(), plain.back() / 4);
  EXPECT_DOUBLE_EQ(AttentionFactor(spec), 0.1 * std::log(4.0) + 1);
  spec.attention_factor = 0.7;
  EXPECT_DOUBLE_EQ(AttentionFactor(spec), 0.7);
}

struct CacheCase {
  int64_t heads, kv_heads, dim;
  at::ScalarType dtype;
  double bound;
};

TEST(SlotCache, KernelsEqualLibTorch) {
  for (const CacheCase& c : {CacheCase{9, 3, 64, at::kFloat, 4e-6},
                             {4, 4, 12, at::kFloat, 4e-6},
                             {4, 1, 80, at::kFloat, 4e-6},
                             {2, 1, 192, at::kFloat, 4e-6},
                             {6, 2, 64, at::kBFloat16, 2e-2}}) {
    const CacheShape shape{2, c.heads, c.kv_heads, c.dim};
    const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
    const auto own = SlotCache::Make(shape, c.dtype, at::kCPU),
               plain = SlotCache::Make(shape, c.dtype, at::kCPU, true);
    for (SlotCache* cache : {own.get(), plain.get()}) {
      ASSERT_EQ(cache->Allocate(3), 0);
      ASSERT_EQ(cache->Allocate(0), 1);
    }
    uint64_t seed = 1;
    for (const std::vector<SlotRows>& rows : std::vector<std::vector<SlotRows>>{
             {{0, 5}, {1, 1}}, {{1, 70}}, {{0, 1}, {1, 1}}, {{1, 130}, {0, 11}}, {{0, 1}}}) {
      int64_t count = 0;
      for (const SlotRows& r : rows) count += r.rows;
      for (SlotCache* cache : {own.get(), plain.get()}) cache->Reserve(rows);
      for (int64_t layer : {0, 1}) {
        const at::Tensor qkv = Random({count, (c.heads + 2 * c.kv_heads) * c.dim}, c.dtype, seed++);
        const at::Tensor a = own->Attend(layer, rows, qkv, scale), b = plain->Attend(layer, rows, qkv, scale);
        EXPECT_LE(Difference(a, b), c.bound) << c.dim;
      }
      for (SlotCache* cache : {own.get(), plain.get()}) cache->Commit(rows);
    }
    EXPECT_EQ(own->Length(1), 202);
  }
}

// Rows without a query: keys and values of all, attention for the last few of each slot.
TEST(SlotCache, StoresAllAndAttendsWithTheLast) {
  const CacheShape shape{1, 6, 3, 32};
  for (bool plain : {false, true}) {
    const auto whole = SlotCache::Make(shape, at::kFloat, at::kCPU, plain),
               parts = SlotCache::Make(shape, at::kFloat, at::kCPU, plain);
    for (SlotCache* cache : {whole.get(), parts.get()}) {
      cache->Allocate(0);
      cache->Allocate(0);
    }
    uint64_t seed = 1;
    for (const std::vector<int64_t>& queries :
         std::vector<std::vector<int64_t>>{{3, 0}, {0, 5}, {70, 1}, {0, 0}}) {
      const std::vector<SlotRows> rows = {{0, 70}, {1, 5}};
      const at::Tensor qkv = Random({75, 12 * 32}, at::kFloat, seed++);
      for (SlotCache* cache : {whole.get(), parts.get()}) cache->Reserve(rows);
      const at::Tensor all = whole->Attend(0, rows, qkv, 0.2);
      parts->Store(0, rows, qkv.narrow(1, 192, 96), qkv.narrow(1, 288, 96));
      const auto last = [&](const at::Tensor& x) {
        return at::cat({x.narrow(0, 70 - queries[0], queries[0]), x.narrow(0, 75 - queries[1], queries[1])});
      };
      const at::Tensor some = parts->AttendLast(0, rows, queries, last(qkv.narrow(1, 0, 192)), 0.2);
      if (plain)
        EXPECT_TRUE(at::allclose(some, last(all), 1e-5, 1e-6));
      else
        EXPECT_TRUE(at::equal(some, last(all)));
      for (SlotCache* cache : {whole.get(), parts.get()}) cache->Commit(rows);
    }
  }
}

TEST(TiledAttention, HasTheBitsOfTheSlotCache) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (int64_t dim : {16, 24, 64}) {
      const int64_t heads = 3, width = heads * dim, tokens = 330;
      const at::Tensor qkv = Random({tokens, 3 * width}, dtype, 5);
      const auto cache = SlotCache::Make({1, heads, heads, dim}, dtype, at::kCPU);
      const std::vector<SlotRows> rows = {{cache->Allocate(tokens), tokens}};
      cache->Reserve(rows);
      const at::Tensor expected = cache->Attend(0, rows, qkv, 0.3);
      const std::vector<int64_t> at_rows = {0, 63, 64, 130, 255, 256, 329};
      std::vector<int64_t> seen;
      for (int64_t row : at_rows) seen.push_back(row + 1);
      const at::Tensor index = at::tensor(at_rows, at::kLong),
                       q = qkv.narrow(1, 0, width).index_select(0, index);
      for (int64_t tile : {64, 128, 256, 384}) {
        for (bool plain : {false, true}) {
          TiledAttention attention(q, heads, seen, 0.3, plain);
          for (int64_t begin = 0; begin < tokens; begin += tile) {
            const at::Tensor part = qkv.narrow(0, begin, std::min(tile, tokens - begin));
            attention.Add(part.narrow(1, width, width), part.narrow(1, 2 * width, width));
          }
          const at::Tensor y = attention.Result();
          if (plain)
            EXPECT_LE(Difference(y, expected.index_select(0, index)), dtype == at::kFloat ? 4e-6 : 2e-2);
          else
            EXPECT_TRUE(at::equal(y, expected.index_select(0, index))) << dim << " " << tile;
        }
      }
      TiledAttention early(q, heads, seen, 0.3);
      early.Add(qkv.narrow(0, 0, 64).narrow(1, 0, width), qkv.narrow(0, 0, 64).narrow(1, width, width));
      EXPECT_THROW(early.Result(), std::invalid_argument);
    }
  }
}

TEST(SlotCache, LargeScoresStayFinite) {
  const auto cache = SlotCache::Make({1, 1, 1, 16}, at::kFloat, at::kCPU);
  const int64_t slot = cache->Allocate(200);
  const std::vector<SlotRows> rows = {{slot, 150}};
  at::Tensor qkv = Random({150, 48}, at::kFloat, 1);
  qkv.narrow(1, 0, 32).mul_(100);
  cache->Reserve(rows);
  const at::Tensor y = cache->Attend(0, rows, qkv, 1);
  const auto plain = SlotCache::Make({1, 1, 1, 16}, at::kFloat, at::kCPU, true);
  plain->Allocate(200);
  plain->Reserve(rows);
  EXPECT_TRUE(at::isfinite(y).all().item<bool>());
  EXPECT_LE(Difference(y, plain->Attend(0, rows, qkv, 1)), 1e-3);
}

TEST(SlotCache, RefusesShapesItCannotHold) {
  EXPECT_THROW(SlotCache::Make({1, 3, 2, 16}, at::kFloat, at::kCPU), std::invalid_argument);
  EXPECT_THROW(SlotCache::Make({1, 2, 2, 1024}, at::kFloat, at::kCPU), std::invalid_argument);
  EXPECT_THROW(SlotCache::Make({1, 2, 2, 16}, at::kDouble, at::kCPU), std::invalid_argument);
}

TEST(AtenLinearFactory, FusesAndChecks) {
  const auto factory = MakeAtenLinearFactory();
  const NamedTensors w = {{"a.weight", Random({3, 5}, at::kFloat, 1)},
                          {"a.bias", Random({3}, at::kFloat, 2)},
                          {"b.weight", Random({4, 5}, at::kFloat, 3)}};
  const LinearSpec a{"a.weight", "a.bias", 5, 3}, b{"b.weight", "", 5, 4};
  const at::Tensor x = Random({6, 5}, at::kFloat, 4);
  const at::Tensor expected =
      at::cat({at::linear(x, w.at("a.weight"), w.at("a.bias")), at::linear(x, w.at("b.weight"))}, 1);
  EXPECT_LE(Difference(factory->Pack({a, b}, w)->Forward(x), expected), 1e-6);
  EXPECT_LE(Difference(factory->Make(a, w)->Forward(x), expected.narrow(1, 0, 3)), 1e-6);
  EXPECT_EQ(factory->Pack({a, b}, w)->bytes(), (7 * 5 + 7) * 4);
  try {
    factory->Make({"b.weight", "", 5, 9}, w);
    FAIL() << "a wrong shape was taken";
  } catch (const std::invalid_argument& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("[4, 5]; the config needs [9, 5]"));
  }
  EXPECT_THROW(factory->Pack({{"c.weight", "", 5, 4}}, w), std::invalid_argument);
}

TEST(FillNormal, HasItsMomentsAndDependsOnSeedAndName) {
  at::Tensor a = at::empty({300, 401}), b = at::empty({300, 401}), c = at::empty({300, 401}),
             d = at::empty({300, 401});
  FillNormal(a, 0.02, 1, "x");
  FillNormal(b, 0.02, 1, "x");
  FillNormal(c, 0.02, 2, "x");
  FillNormal(d, 0.02, 1, "y");
  EXPECT_TRUE(at::equal(a, b));
  EXPECT_NEAR(a.std().item<double>(), 0.02, 2e-4);
  EXPECT_NEAR(a.mean().item<double>(), 0, 3e-4);
  EXPECT_NEAR(((a / 0.02).pow(4)).mean().item<double>(), 3, 0.1);
  for (const at::Tensor& other : {c, d})
    EXPECT_LE(std::abs((a * other).mean().item<double>()), 0.02 * 0.02 * 0.02);
}

// A weak or unique symbol would let the linker take one level's code for another's.
TEST(KernelFiles, ExportNoWeakSymbols) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           VOLERY_BINARY_DIR "/sdk/CMakeFiles/volery_nn_kernels.dir")) {
    if (entry.path().extension() != ".o" || entry.path().parent_path().filename() != "kernels") continue;
    files++;
    FILE* pipe = popen(("nm --defined-only " + entry.path().string()).c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::array<char, 4096> line;
    int strong = 0;
    while (std::fgets(line.data(), line.size(), pipe)) {
      const char kind = std::string(line.data()).find(' ') == 16 ? line[17] : '?';
      EXPECT_EQ(std::string("WwVvu").find(kind), std::string::npos) << entry.path() << ": " << line.data();
      strong += kind == 'T';
    }
    EXPECT_EQ(pclose(pipe), 0);
    EXPECT_EQ(strong, 1) << entry.path() << " must export its table's getter only";
  }
  EXPECT_EQ(files, 3);
}

}  // namespace
}  // namespace volery::nn
