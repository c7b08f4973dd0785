// GoldFinch's decode slots: the three caches, what they take, and the truncated prefill.

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "goldfinch_fixture.h"
#include "tests/counting_allocator.h"

namespace volery::testing {
namespace {

class GoldFinchSampling : public ::testing::TestWithParam<const char*> {
 protected:
  // GOLD's depth: goldfinch 2 layers, goldfinch-half 2, goldfinch-rope 1.
  const std::string folder = kGoldens + GetParam();
  const TinyModel tiny = LoadModelFolder(folder, at::kFloat);
  const int64_t tail = std::string(GetParam()) == "goldfinch-rope" ? 2 : 4;
  const at::Tensor tokens = RandomTokens(60, 96, 8), more = RandomTokens(12, 96, 9);

  TinyModel With(const char* cache, at::ScalarType dtype = at::kFloat) const {
    return Convert({"", "goldfinch", &FindFamily("goldfinch")}, tiny, dtype, {{"cache", cache}});
  }
  // The last row of the prompt and the rows of `more`, one by one; with all rows of the prompt asked for, no
  // layer skips any.
  at::Tensor Rows(Sampler& sampler, int64_t slot, bool skip) const {
    const at::Tensor prompt = sampler.Read(slot, tokens, skip ? tokens.size(0) - 1 : 0);
    std::vector<at::Tensor> out = {prompt.narrow(0, prompt.size(0) - 1, 1)};
    for (int64_t i = 0; i < more.size(0); i++) out.push_back(sampler.Read(slot, more.narrow(0, i, 1)));
    return at::cat(out);
  }
};

TEST_P(GoldFinchSampling, SkippedTokensLeaveNoTrace) {
  Sampler whole(tiny, at::kFloat);
  const at::Tensor expected = Rows(whole, whole.Slot(), false);
  Sampler short_one(tiny, at::kFloat);
  EXPECT_TRUE(at::equal(Rows(short_one, short_one.Slot(), true), expected));
  // In chunks, the last of them shorter than the tail, with a fork at the end of the prompt.
  for (const std::vector<int64_t>& sizes : std::vector<std::vector<int64_t>>{
           {60}, {30, 30}, {57, 3}, {59, 1}, {20, 37, 1, 1, 1}, {56, 4}, {50, 7, 3}, {1, 1, 1, 1, 1, 55}}) {
    Sampler sampler(tiny, at::kFloat);
    const int64_t prompt = sampler.Slot();
    int64_t read = 0;
    at::Tensor row;
    for (int64_t size : sizes) {
      const bool last = read + size == 60;
      row = sampler.Read({{prompt, tokens.narrow(0, read, size)}}, last ? size - 1 : size, 60 - read - size);
      read += size;
    }
    EXPECT_TRUE(at::equal(row, expected.narrow(0, 0, 1)));
    const int64_t slot = sampler.state->Fork(prompt, 80);
    for (int64_t i = 0; i < more.size(0); i++)
      EXPECT_TRUE(at::equal(sampler.Read(slot, more.narrow(0, i, 1)), expected.narrow(0, i + 1, 1)));
  }
}

// The rule is tight: with a token less the row is another one. A prompt that is said to go on for one token
// has one token less in its tail when that token turns out to be the first of the answer.
TEST_P(GoldFinchSampling, ATokenLessIsRefused) {
  Sampler sampler(tiny, at::kFloat);
  const int64_t slot = sampler.Slot();
  sampler.Read({{slot, tokens}}, 60, tail);
  EXPECT_THAT(Refusal([&] { sampler.Read(slot, more.narrow(0, 0, 1)); }), HasSubstr("prompt_remaining"));
  EXPECT_EQ(sampler.state->Length(slot), 60);
  const int64_t near = sampler.Slot();
  sampler.Read({{near, tokens}}, 60, 2);  // tail - 2 tokens went through the upper layers
  EXPECT_THAT(Refusal([&] { sampler.Read(near, more.narrow(0, 0, 1)); }), HasSubstr("prompt_remaining"));
  EXPECT_EQ(sampler.Read(near, more.narrow(0, 0, 2), 1).size(0), 1);
  // Without a skipped token at the start of the text nothing is missing.
  const int64_t start = sampler.Slot();
  sampler.Read({{start, tokens.narrow(0, 0, 1)}}, 1, 0);
  EXPECT_EQ(sampler.Read(start, more.narrow(0, 0, 1)).size(0), 1);
}

TEST_P(GoldFinchSampling, AllCachesHaveTheSameBits) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const TinyModel full = With("full", dtype);
    Sampler reference(full, dtype);
    // Several tiles; positions of goldfinch-rope end at 128.
    const int64_t length = std::string(GetParam()) == "goldfinch-rope" ? 128 : 300;
    const at::Tensor longer = RandomTokens(length, 96, 10);
    const auto read = [&](Sampler& sampler) {
      const int64_t a = sampler.Slot(), b = sampler.Slot();
      std::vector<at::Tensor> out = {Rows(sampler, a, true)};
      out.push_back(sampler.Read({{b, longer.narrow(0, 0, length - 10)}, {a, more.narrow(0, 0, 5)}}, 4));
      const int64_t fork = sampler.state->Fork(b, length);
      for (int64_t i = length - 10; i < length; i++)
        out.push_back(sampler.Read({{fork, longer.narrow(0, i, 1)}, {b, longer.narrow(0, length - i, 1)}}));
      sampler.state->Clear(a);
      out.push_back(Rows(sampler, a, true));
      return at::cat(out);
    };
    const at::Tensor expected = read(reference);
    for (const char* cache : {"proto_keys", "compressed"}) {
      const TinyModel other = With(cache, dtype);
      Sampler sampler(other, dtype);
      EXPECT_TRUE(at::equal(read(sampler), expected)) << cache << " " << dtype;
    }
  }
}

// The engine reads in LibTorch's inference mode, and forks, clears and drops outside of it.
TEST_P(GoldFinchSampling, SlotsChangeInsideAndOutsideOfInferenceMode) {
  for (const char* cache : {"full", "proto_keys", "compressed"}) {
    const TinyModel other = With(cache);
    Sampler sampler(other, at::kFloat);
    const auto read = [&](int64_t slot, const at::Tensor& what) {
      const c10::InferenceMode inference;
      return sampler.Read(slot, what).to(at::kDouble);
    };
    const int64_t slot = [&] {
      const c10::InferenceMode inference;
      return sampler.Slot(1);
    }();
    read(slot, tokens);
    const int64_t fork = sampler.state->Fork(slot, 0);
    const at::Tensor expected = read(slot, more), forked = read(fork, more);
    EXPECT_EQ(MaxDifference(forked, expected), 0) << cache;
    sampler.state->Clear(slot);
    read(slot, tokens);
    EXPECT_EQ(MaxDifference(read(slot, more), expected), 0) << cache;
    sampler.state->Drop(slot);
  }
}

TEST_P(GoldFinchSampling, CachesStateTheirBytes) {
  std::vector<int64_t> per_token;
  for (const char* cache : {"full", "proto_keys", "compressed"}) {
    const TinyModel other = With(cache);
    const native::StateSpec spec = other.model->state_spec(at::kFloat);
    EXPECT_EQ(spec.readable_with_other_weights, std::string(cache) == "full");
    const auto state = other.model->MakeState(at::kFloat);
    const int64_t a = state->Allocate(1), b = state->Allocate(50);
    EXPECT_LE(state->bytes(), 2 * spec.bytes_per_slot + 51 * spec.bytes_per_token);
    EXPECT_GE(state->bytes(), 51 * spec.bytes_per_token);
    state->Drop(a);
    state->Drop(b);
    EXPECT_EQ(state->bytes(), 0);
    per_token.push_back(spec.bytes_per_token);
  }
  const int64_t width = 32, layers = tail / 2;
  EXPECT_GE(per_token[0], 2 * layers * width * 4);
  EXPECT_EQ(per_token[1], width * 4 + 4);
  EXPECT_EQ(per_token[2], width / 16 * 4 + 4);
}

// What a slot with room for 4096 tokens more takes, by the allocator.
int64_t CountedBytesOf4096Tokens(native::Model& model, at::ScalarType dtype) {
  const auto counted = [&](int64_t tokens) {
    const auto state = model.MakeState(dtype);
    const CountingAllocator allocator;
    state->Allocate(tokens);
    return allocator.live->load();
  };
  return counted(8192) - counted(4096);
}

// Keys of 16 times fewer values and a token id, against keys and values of every layer: 369, 756, 376 and 762 times.
TEST(GoldFinch, CompressedKeysAgainstTheLlamaSiblingsKeysAndValues) {
  for (const auto& [size, dtype, ratio] :
       {std::tuple("L12", at::kBFloat16, 36864.0 / 100), std::tuple("L24", at::kBFloat16, 196608.0 / 260),
        std::tuple("L12", at::kFloat, 73728.0 / 196), std::tuple("L24", at::kFloat, 393216.0 / 516)}) {
    const auto gold = Build(Configured(size, "goldfinch"), {.dtype = dtype, .options = {{"cache", "compressed"}}});
    const auto llama = Build(Configured(size, "llama"), {.dtype = dtype});
    EXPECT_DOUBLE_EQ(static_cast<double>(CountedBytesOf4096Tokens(*llama, dtype)) /
                         static_cast<double>(CountedBytesOf4096Tokens(*gold, dtype)),
                     ratio)
        << size << " " << dtype;
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, GoldFinchSampling,
                         ::testing::Values("goldfinch", "goldfinch-half", "goldfinch-rope"),
                         [](const auto& info) { return TestName(info.param); });

// What the reference gives where GOLD layers see the last 2G tokens only, and a token less.
TEST(GoldFinch, TheTailIsAsLongAsItMustBe) {
  const std::string folder = kGoldens + "goldfinch";
  const TinyModel tiny = LoadModelFolder(folder, at::kFloat);
  const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
  const at::Tensor tokens = golden.at("tokens")[0];
  Sampler sampler(tiny, at::kFloat);
  const at::Tensor logits = sampler.Logits(sampler.Read(sampler.Slot(), tokens, tokens.size(0) - 1))[0];
  EXPECT_LE(MaxDifference(logits, golden.at("truncated_logits.2g")), 1e-4);
  EXPECT_GT(MaxDifference(logits, golden.at("truncated_logits.2g_minus_1")), 1e-3);
}

}  // namespace
}  // namespace volery::testing
