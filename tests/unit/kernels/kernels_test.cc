#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "isa.h"

namespace volery::nn {
namespace {

using kernels::Activation;
using kernels::Element;
using kernels::kPanelColumns;
using kernels::ProductArgs;
using kernels::Table;

struct NamedLevel {
  Level level;
  std::string name;
};
std::vector<NamedLevel> Levels() {
  std::vector<NamedLevel> out = {{Level::kPlain, "plain"}};
  if (BestLevel() >= Level::kAvx2) out.push_back({Level::kAvx2, "avx2"});
  if (BestLevel() >= Level::kAvx512) out.push_back({Level::kAvx512, "avx512"});
  return out;
}

// Values of a fixed sequence in [-1, 1).
std::vector<float> Numbers(size_t count, uint32_t seed) {
  std::vector<float> out(count);
  uint32_t state = seed * 747796405u + 2891336453u;
  for (float& x : out) {
    state = state * 747796405u + 2891336453u;
    const uint32_t word = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
    x = static_cast<float>(static_cast<int32_t>(word)) * 0x1p-31f;
  }
  return out;
}

uint16_t ToBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float FromBf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}

// Bytes of either element type.
struct Data {
  std::vector<float> f32;
  std::vector<uint16_t> bf16;
  explicit Data(std::vector<float> values) : f32(std::move(values)) {
    for (float& x : f32) {
      bf16.push_back(ToBf16(x));
    }
  }
  void* Get(Element e) { return e == Element::kF32 ? static_cast<void*>(f32.data()) : bf16.data(); }
  double At(Element e, size_t i) const { return e == Element::kF32 ? f32[i] : FromBf16(bf16[i]); }
  bool operator==(const Data& other) const {
    return std::memcmp(f32.data(), other.f32.data(), f32.size() * 4) == 0 && bf16 == other.bf16;
  }
};

Data Zeros(size_t count) {
  return Data(std::vector<float>(count));
}

constexpr Activation kActivations[] = {Activation::kSilu,        Activation::kGelu,    Activation::kGeluTanh,
                                       Activation::kSquaredRelu, Activation::kSigmoid, Activation::kTanh};

struct Shape {
  long rows, k;
};

class Product : public ::testing::TestWithParam<Shape> {};

TEST_P(Product, IsTheSumWithinItsBoundAndTheSameBitsOnAllLevels) {
  const auto [rows, k] = GetParam();
  const std::vector<float> a = Numbers(rows * k, 1);
  Data b(Numbers(k * kPanelColumns, 2));
  for (Element element : {Element::kF32, Element::kBf16}) {
    std::vector<float> first;
    for (const auto& [level, name] : Levels()) {
      if (level == Level::kPlain && rows * k > 20'000) continue;  // one fmaf call an element
      std::vector<float> c(rows * kPanelColumns, 7);
      TableOf(level, element)
          .product({a.data(), k, 1, b.Get(element), c.data(), kPanelColumns, rows, k, ProductArgs::kZero});
      for (long m = 0; m < rows; m++)
        for (long n = 0; n < kPanelColumns; n++) {
          double sum = 0, size = 0;
          for (long i = 0; i < k; i++) {
            const double term = static_cast<double>(a[m * k + i]) * b.At(element, i * kPanelColumns + n);
            sum += term;
            size += std::abs(term);
          }
          // Blocks of 128 and the sum of the blocks: at most 128 + k / 128 roundings of at most the sum of
          // the sizes.
          const double bound = (128 + static_cast<double>(k) / 128) * 0x1p-24 * size;
          ASSERT_NEAR(c[m * kPanelColumns + n], sum, bound) << name << " row " << m << " column " << n;
        }
      if (first.empty()) first = c;
      EXPECT_EQ(std::memcmp(first.data(), c.data(), c.size() * 4), 0) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Product,
                         ::testing::Values(Shape{1, 1}, Shape{1, 127}, Shape{2, 128}, Shape{3, 129},
                                           Shape{4, 257}, Shape{5, 31}, Shape{6, 640}, Shape{7, 65},
                                           Shape{13, 300}, Shape{300, 65}, Shape{17, 1536}));

TEST(Product, IsCloserThanOneChain) {
  const long k = 1536, rows = 64;
  const std::vector<float> a = Numbers(rows * k, 3), b = Numbers(k * kPanelColumns, 4);
  double error[2] = {};
  for (auto start : {ProductArgs::kZero, ProductArgs::kChain}) {
    std::vector<float> c(rows * kPanelColumns);
    TableFor(Element::kF32).product({a.data(), k, 1, b.data(), c.data(), kPanelColumns, rows, k, start});
    for (long i = 0; i < rows * kPanelColumns; i++) {
      double sum = 0;
      for (long j = 0; j < k; j++)
        sum += static_cast<double>(a[i / kPanelColumns * k + j]) *
               static_cast<double>(b[j * kPanelColumns + i % kPanelColumns]);
      error[start == ProductArgs::kChain] += std::abs(sum - static_cast<double>(c[i]));
    }
  }
  EXPECT_LT(error[0] * 1.5, error[1]);
}

TEST(Product, ARowHasTheSameBitsAlone) {
  const long k = 150, most = 256;
  const std::vector<float> a = Numbers(most * k, 5), b = Numbers(k * kPanelColumns, 6);
  for (const auto& [level, name] : Levels()) {
    if (level == Level::kPlain) continue;  // equal to the others by the test above
    const Table& table = TableOf(level, Element::kF32);
    std::vector<float> alone(most * kPanelColumns), together(most * kPanelColumns);
    for (long m = 0; m < most; m++)
      table.product({a.data() + m * k, k, 1, b.data(), alone.data() + m * kPanelColumns, kPanelColumns, 1, k,
                     ProductArgs::kZero});
    for (long rows = 1; rows <= most; rows++) {
      std::fill(together.begin(), together.end(), 0.0f);
      // The rows end at the last one, so that each row is met at many places of a tile.
      const long from = most - rows;
      table.product(
          {a.data() + from * k, k, 1, b.data(), together.data(), kPanelColumns, rows, k, ProductArgs::kZero});
      ASSERT_EQ(std::memcmp(together.data(), alone.data() + from * kPanelColumns, rows * kPanelColumns * 4),
                0)
          << name << ", " << rows << " rows";
    }
  }
}

TEST(Product, AddsAndChainsOnWhatIsThere) {
  const long k = 300, rows = 8;
  const std::vector<float> a = Numbers(rows * k, 7), b = Numbers(k * kPanelColumns, 8);
  for (const auto& [level, name] : Levels()) {
    const Table& table = TableOf(level, Element::kF32);
    const auto run = [&](std::vector<float>& c, long begin, long end, auto start) {
      table.product({a.data() + begin, k, 1, b.data() + begin * kPanelColumns, c.data(), kPanelColumns, rows,
                     end - begin, start});
    };
    std::vector<float> whole(rows * kPanelColumns), parts = whole, chain = whole, chained = whole;
    run(whole, 0, k, ProductArgs::kZero);
    run(parts, 0, 256, ProductArgs::kZero);  // a border between blocks
    run(parts, 256, k, ProductArgs::kAdd);
    EXPECT_EQ(whole, parts) << name;
    run(chain, 0, k, ProductArgs::kChain);
    for (long cut : {0, 77, 130, 299})
      run(chained, cut, cut == 0 ? 77 : cut == 77 ? 130 : cut == 130 ? 299 : 300, ProductArgs::kChain);
    EXPECT_EQ(chain, chained) << name;
  }
}

TEST(Transpose, MovesEveryValue) {
  for (auto [rows, columns] :
       std::vector<std::pair<long, long>>{{1, 1}, {8, 8}, {9, 7}, {64, 100}, {5, 40}, {17, 33}}) {
    const long from_row = columns + 3, to_row = rows + 2;
    Data from(Numbers(rows * from_row, 9));
    for (const auto& [level, name] : Levels())
      for (Element element : {Element::kF32, Element::kBf16}) {
        Data to = Zeros(columns * to_row);
        TableOf(level, element)
            .transpose({from.Get(element), from_row, to.Get(element), to_row, rows, columns});
        for (long i = 0; i < rows; i++)
          for (long j = 0; j < columns; j++)
            ASSERT_EQ(to.At(element, j * to_row + i), from.At(element, i * from_row + j))
                << name << " " << i << " " << j;
        ASSERT_EQ(to.At(element, rows), 0) << "between the rows";
      }
  }
}

TEST(Transpose, WritesWholePanelsTheSame) {
  for (long columns : {1, 8, 31, 100}) {
    Data from(Numbers(kPanelColumns * columns, 10));
    for (const auto& [level, name] : Levels())
      for (Element element : {Element::kF32, Element::kBf16}) {
        const long bytes = element == Element::kF32 ? 4 : 2;
        std::vector<char> memory(kPanelColumns * columns * bytes + 64);
        char* to = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
        TableOf(level, element)
            .transpose({from.Get(element), columns, to, kPanelColumns, kPanelColumns, columns, true});
        for (long i = 0; i < kPanelColumns; i++)
          for (long j = 0; j < columns; j++)
            ASSERT_EQ(std::memcmp(to + (j * kPanelColumns + i) * bytes,
                                  static_cast<char*>(from.Get(element)) + (i * columns + j) * bytes, bytes),
                      0)
                << name << " " << i << " " << j;
      }
  }
}

// Everything but the product, on one input: the outputs of a level.
std::vector<Data> RunRows(const Table& table, Element element, long width) {
  const long rows = 5, heads = 3, group = 3, positions = 150;
  std::vector<Data> out;
  Data x(Numbers(rows * heads * width, 10)), w(Numbers(heads * width, 11)),
      up(Numbers(rows * heads * width, 12));
  Data y = Zeros(rows * heads * width);
  table.rms_norm({x.Get(element), y.Get(element), heads * width, heads * width, rows, heads * width},
                 w.Get(element), 1e-5f, 0.25f, nullptr);
  out.push_back(y);
  const std::vector<float> moments = Numbers(2 * rows, 18);
  Data dy(Numbers(rows * heads * width, 19)), dgate = Zeros(rows * heads * width), dup = dgate;
  const kernels::NormBackwardArgs norm{
      x.Get(element), w.Get(element), dy.Get(element), moments.data(), y.Get(element), rows, 1,
      heads * width};
  table.rms_norm_backward(norm);
  out.push_back(y);
  Data dw(Numbers(heads * width, 20));
  table.norm_weight(norm, dw.f32.data(), nullptr, 0, heads * width);
  out.push_back(dw);
  Data wild = x;  // [-100, 100)
  for (float& value : wild.f32) value *= 100;
  wild = Data(wild.f32);
  for (Activation f : kActivations)
    for (Data* in : {&x, &wild})
      for (bool gated : {false, true}) {
        void *gate = gated ? up.Get(element) : nullptr, *up_gradient = gated ? dup.Get(element) : nullptr;
        table.activate(f,
                       {in->Get(element), y.Get(element), heads * width, heads * width, rows, heads * width},
                       gate, heads * width);
        out.push_back(y);
        table.activate_backward(f, {in->Get(element), gate, dy.Get(element), dgate.Get(element), up_gradient,
                                    rows * heads * width});
        out.push_back(dgate);
        out.push_back(dup);
      }
  for (long groups : {1L, heads})
    for (void* bias : {up.Get(element), static_cast<void*>(nullptr)}) {
      std::vector<float> moments(2 * rows * groups);
      const long each = heads * width / groups;
      table.layer_norm(
          {x.Get(element), w.Get(element), bias, y.Get(element), moments.data(), rows, groups, each, 1e-5f});
      out.push_back(y);
      out.push_back(Data(moments));
      const kernels::NormBackwardArgs args{x.Get(element), w.Get(element), dy.Get(element), moments.data(),
                                           y.Get(element), rows,           groups,          each};
      table.layer_norm_backward(args);
      out.push_back(y);
      Data db(Numbers(heads * width, 21));
      table.norm_weight(args, dw.f32.data(), bias ? db.f32.data() : nullptr, 0, heads * width);
      out.push_back(dw);
      out.push_back(db);
    }
  for (long count : {1L, 15L, rows * heads * width}) {
    const kernels::SoftmaxSums sums = table.softmax_sums(x.Get(element), count, 0.7f);
    out.push_back(Data({sums.largest, static_cast<float>(sums.sum), static_cast<float>(sums.slope)}));
    Data gradient = x;
    table.softmax_gradient({gradient.Get(element), count, 0.7f, -0.4f, 0.2f, 1 / 0.7f, 3.3});
    out.push_back(gradient);
  }
  const std::vector<float> cos = Numbers(rows * width, 13), sin = Numbers(rows * width, 14);
  for (bool inverse : {false, true}) {
    table.rotate({x.Get(element), y.Get(element), heads * width, heads * width, rows, width / 2 * 2}, 1,
                 cos.data(), sin.data(), inverse);
    out.push_back(y);
  }
  const long stride = kernels::ValueStride(width),
             panels = (positions + kernels::kPanel - 1) / kernels::kPanel;
  Data keys = Zeros(panels * kernels::kPanel * width), values = Zeros(positions * stride);
  Data k(Numbers(positions * width, 15)), v(Numbers(positions * width, 16)), q(Numbers(group * width, 17));
  const size_t size = element == Element::kF32 ? 4 : 2;
  for (long p = 0; p < positions; p++) {
    table.append(static_cast<char*>(k.Get(element)) + p * width * size,
                 static_cast<char*>(v.Get(element)) + p * width * size, keys.Get(element),
                 values.Get(element), p, width);
  }
  std::vector<float> scratch(kernels::AttendScratch(5 * group, width));
  const auto attend = [&](const std::vector<long>& seen, Data& attended, long first, long count, bool again) {
    table.attend({.q = q.Get(element),
                  .keys = static_cast<char*>(keys.Get(element)) + first * width * size,
                  .values = static_cast<char*>(values.Get(element)) + first * stride * size,
                  .out = attended.Get(element),
                  .scratch = scratch.data(),
                  .seen = seen.data(),
                  .rows = static_cast<long>(seen.size()),
                  .q_row = 0,  // all rows ask the same
                  .out_row = group * width,
                  .group = group,
                  .head_dim = width,
                  .positions = count,
                  .scale = 0.3f,
                  .resumed = again});
  };
  const std::vector<long> counts{1, 16, 64, 65, 150};
  for (long count : counts) {
    Data attended = Zeros(group * width);
    attend({count}, attended, 0, count, false);
    out.push_back(attended);
  }
  // All of them in one call, and in two.
  Data whole = Zeros(counts.size() * group * width), resumed = whole;
  attend(counts, whole, 0, 150, false);
  attend(counts, resumed, 0, 64, false);
  std::vector<long> left;
  for (long count : counts) left.push_back(count - 64);
  attend(left, resumed, 64, 86, true);
  for (size_t row = 0; row < counts.size(); row++)
    for (long i = 0; i < group * width; i++) {
      const float alone = out[out.size() - counts.size() + row].At(element, i);
      EXPECT_EQ(whole.At(element, row * group * width + i), alone) << "row " << row;
      EXPECT_EQ(resumed.At(element, row * group * width + i), alone) << "row " << row;
    }
  out.push_back(resumed);
  return out;
}

TEST(Kernels, AllLevelsGiveTheSameBits) {
  for (long width : {6, 16, 40, 64, 128})
    for (Element element : {Element::kF32, Element::kBf16}) {
      const std::vector<Data> plain = RunRows(TableOf(Level::kPlain, element), element, width);
      for (const auto& [level, name] : Levels()) {
        const std::vector<Data> other = RunRows(TableOf(level, element), element, width);
        for (size_t i = 0; i < plain.size(); i++)
          EXPECT_TRUE(plain[i] == other[i]) << name << " width " << width << " output " << i;
      }
    }
}

// One segment of 75 tokens after 60 of its ancestors, forward and backward: the outputs of a level.
std::vector<Data> RunSegment(const Table& table, Element element, long width) {
  const long tokens = 160, group = 3, prefix = 60, own = 75;
  std::vector<long> path;
  for (long i = 0; i < prefix; i++) path.push_back(i);
  for (long i = 0; i < own; i++) path.push_back(80 + i);
  Data q(Numbers(tokens * group * width, 21)), k(Numbers(tokens * width, 22)), v(Numbers(tokens * width, 23)),
      dout(Numbers(tokens * group * width, 24)), out = Zeros(tokens * group * width), dq = out;
  std::vector<float> stats(tokens * group * 2), dk(tokens * width), dv = dk, dk_prefix(prefix * width),
                                                                    dv_prefix = dk_prefix;
  kernels::SegmentBackwardArgs args{
      {q.Get(element), k.Get(element), v.Get(element), out.Get(element), stats.data(), group * width, width,
       group * 2, path.data(), prefix, prefix + own, width, group, 0.3f, nullptr},
      dout.Get(element),
      dq.Get(element),
      dk.data(),
      dv.data(),
      dk_prefix.data(),
      dv_prefix.data()};
  std::vector<float> scratch(table.segment_floats(args.segment, true));
  args.segment.scratch = scratch.data();
  table.segment_forward(args.segment);
  table.segment_backward(args);
  std::vector<Data> all = {out, dq};
  for (auto& x : {stats, dk, dv, dk_prefix, dv_prefix}) all.emplace_back(x);
  return all;
}

TEST(Kernels, SegmentsHaveTheSameBitsOnAllLevels) {
  for (long width : {12, 64, 80})
    for (Element element : {Element::kF32, Element::kBf16}) {
      const std::vector<Data> plain = RunSegment(TableOf(Level::kPlain, element), element, width);
      EXPECT_NE(plain[0].At(element, 100 * 3 * width), 0);
      for (const auto& [level, name] : Levels()) {
        const std::vector<Data> other = RunSegment(TableOf(level, element), element, width);
        for (size_t i = 0; i < plain.size(); i++)
          EXPECT_TRUE(plain[i] == other[i]) << name << " width " << width << " output " << i;
      }
    }
}

// One head over 45 tokens, forward and backward, and a mix of three streams: the outputs of a level.
std::vector<Data> RunRecurrence(const Table& table, Element element, long width, bool constant, bool plain_keys) {
  const long tokens = 45, step = width + 16, size = tokens * step;
  Data r(Numbers(size, 31)), k(Numbers(size, 32)), v(Numbers(size, 33)), dy(Numbers(size, 34)), y = Zeros(size),
      dr = y, dk = y, dv = y;
  std::vector<float> decay = Numbers(size, 35), u = Numbers(width, 36), state = Numbers(width * width, 37),
                     dstate = Numbers(width * width, 38), ddecay(size), du(width),
                     scratch(table.wkv_floats(tokens, width));
  for (float& x : decay) x = 4 * x - 2;  // factors from 0.9975 to 6e-4
  kernels::WkvArgs args{r.Get(element), k.Get(element), v.Get(element), y.Get(element), step,
                        decay.data(),   constant ? 0 : step, plain_keys ? u.data() : nullptr, state.data(), tokens,
                        width,          !plain_keys};
  const std::vector<float> start = state;
  table.wkv(args);
  const std::vector<float> end = state;
  state = start;
  kernels::WkvBackwardArgs back{args,          dy.Get(element), dr.Get(element), dk.Get(element), dv.Get(element),
                                ddecay.data(), du.data(),       dstate.data(),   scratch.data()};
  table.wkv_backward(back);
  EXPECT_EQ(state, start);
  std::vector<Data> all = {y, dr, dk, dv};
  for (const auto& x : {end, ddecay, du, dstate}) all.emplace_back(x);
  return all;
}

TEST(Kernels, RecurrencesHaveTheSameBitsOnAllLevels) {
  for (long width : {16, 48, 64, 128})
    for (bool constant : {false, true})
      for (bool plain_keys : {false, true})
        for (Element element : {Element::kF32, Element::kBf16}) {
          const auto run = [&](Level level) {
            return RunRecurrence(TableOf(level, element), element, width, constant, plain_keys);
          };
          const std::vector<Data> plain = run(Level::kPlain);
          EXPECT_NE(plain[0].At(element, 7), 0);
          for (const auto& [level, name] : Levels()) {
            const std::vector<Data> other = run(level);
            for (size_t i = 0; i < plain.size(); i++)
              EXPECT_TRUE(plain[i] == other[i]) << name << " width " << width << " output " << i;
          }
        }
}

std::vector<Data> RunShiftMix(const Table& table, Element element, long width, bool of_current) {
  const long rows = 9, streams = 3;
  Data z(Numbers(rows * width, 41)), first(Numbers(width, 42)), mu(Numbers(streams * width, 43)),
      m(Numbers(rows * width, 44)), dout(Numbers(streams * rows * width, 45)), out = Zeros(streams * rows * width),
      dm = Zeros(rows * width);
  std::vector<float> dz(rows * width), dbefore = dz, dmu = Numbers(streams * width, 46);
  const long bytes = element == Element::kF32 ? 4 : 2;
  const auto at = [&](Data& data, long i) { return static_cast<char*>(data.Get(element)) + i * bytes; };
  std::vector<const void*> before = {at(first, 0)};
  for (long row = 0; row + 1 < rows; row++) before.push_back(at(z, row * width));
  kernels::ShiftMixBackwardArgs back{};
  kernels::ShiftMixArgs& args = back.forward;
  args = {at(z, 0), before.data(), rows, width, 0, width, streams, {}, {}, {}, of_current};
  for (long s = 0; s < streams; s++) {
    args.mu[s] = at(mu, s * width);
    args.out[s] = at(out, s * rows * width);
    back.dout[s] = at(dout, s * rows * width);
    back.dmu[s] = dmu.data() + s * width;
  }
  args.m[1] = at(m, 0);
  back.dm[1] = at(dm, 0);
  back.dz = dz.data();
  back.dbefore = dbefore.data();
  table.shift_mix(args);
  table.shift_mix_backward(back);
  std::vector<Data> all = {out, dm};
  for (const auto& x : {dz, dbefore, dmu}) all.emplace_back(x);
  return all;
}

TEST(Kernels, ShiftMixesHaveTheSameBitsOnAllLevels) {
  for (long width : {6, 16, 40, 128})
    for (bool of_current : {false, true})
      for (Element element : {Element::kF32, Element::kBf16}) {
        const std::vector<Data> plain = RunShiftMix(TableOf(Level::kPlain, element), element, width, of_current);
        EXPECT_NE(plain[0].At(element, 5), 0);
        for (const auto& [level, name] : Levels()) {
          const std::vector<Data> other = RunShiftMix(TableOf(level, element), element, width, of_current);
          for (size_t i = 0; i < plain.size(); i++)
            EXPECT_TRUE(plain[i] == other[i]) << name << " width " << width << " output " << i;
        }
      }
}

}  // namespace
}  // namespace volery::nn
