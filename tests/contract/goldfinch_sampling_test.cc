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

  TinyModel With(const char* cache, at::ScalarType dtype = at::kFloat, const char* memo_bytes = "100000") const {
    return Convert({"", "goldfinch", &FindFamily("goldfinch")}, tiny, dtype,
                   {{"cache", cache}, {"memo_bytes", memo_bytes}});
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

// The slots of AllCachesHaveTheSameBits without what is remembered beside them: at most this.
int64_t HeldBySlots(const TinyModel& model, at::ScalarType dtype) {
  const native::StateSpec spec = model.model->state_spec(dtype);
  return 3 * spec.bytes_per_slot + (73 + 300 + 300) * 5 / 4 * spec.bytes_per_token;
}

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
    // All pairs remembered, some, none.
    for (const char* cache : {"proto_keys", "compressed"})
      for (const char* memo : {"10000000", "30000", "0"}) {
        const TinyModel other = With(cache, dtype, memo);
        Sampler sampler(other, dtype);
        EXPECT_TRUE(at::equal(read(sampler), expected)) << cache << " " << dtype << " " << memo;
        EXPECT_LE(sampler.state->bytes() - HeldBySlots(other, dtype), std::stoll(memo));
      }
  }
}

// Two versions of the weights in turn: nothing is left of the other's.
TEST_P(GoldFinchSampling, RowsOfOtherWeightsAreForgotten) {
  const TinyModel other = With("compressed");
  native::NamedTensors changed;
  for (const auto& [name, tensor] : other.parameters) changed[name] = tensor.detach() * 1.25;
  const auto first = other.model->Prepare(other.parameters, 0), second = other.model->Prepare(changed, 0);
  const auto state = other.model->MakeState(at::kFloat);
  const int64_t slot = state->Allocate(100);
  const std::vector<int32_t> ids = [&] {
    const at::Tensor t = tokens.to(at::kInt).contiguous();
    return std::vector<int32_t>(t.const_data_ptr<int32_t>(), t.const_data_ptr<int32_t>() + t.size(0));
  }();
  const auto read = [&](const native::PreparedWeights& weights, native::DecodeState& in, int64_t into) {
    in.Clear(into);
    const native::Chunk chunk{into, ids, static_cast<int64_t>(ids.size()) - 1, 0};
    return other.model->Advance(weights, in, {&chunk, 1});
  };
  const at::Tensor before = read(*first, *state, slot), between = read(*second, *state, slot),
                   after = read(*first, *state, slot);
  EXPECT_TRUE(at::equal(before, after));
  EXPECT_FALSE(at::equal(before, between));
  const auto fresh = other.model->MakeState(at::kFloat);
  EXPECT_TRUE(at::equal(between, read(*second, *fresh, fresh->Allocate(100))));
}

// What finished slots left gives way to what is read now; in between, results stay what they are.
TEST_P(GoldFinchSampling, AFullMemoIsRenewed) {
  const TinyModel small = With("compressed", at::kFloat, "500000"), none = With("compressed", at::kFloat, "0");
  Sampler sampler(small, at::kFloat), plain(none, at::kFloat);
  const auto read = [&](int64_t tokens, uint64_t seed) {  // bytes that stay when the slot is gone
    const int64_t a = sampler.Slot(), b = plain.Slot();
    const at::Tensor some = RandomTokens(tokens, 96, seed);
    EXPECT_TRUE(at::equal(sampler.Read(a, some), plain.Read(b, some))) << seed;
    sampler.state->Drop(a);
    plain.state->Drop(b);
    return sampler.state->bytes();
  };
  int64_t largest = 0;
  for (uint64_t i = 0; i < 30; i++) largest = std::max(largest, read(100, i));
  EXPECT_GT(largest, 450000);  // 3000 pairs have no room
  EXPECT_LE(largest, 500000);
  for (uint64_t i = 30; i < 250; i++) EXPECT_EQ(read(3, i), largest) << i;
  int64_t smallest = largest;
  for (uint64_t i = 250; i < 260; i++) smallest = std::min(smallest, read(3, i));
  EXPECT_LT(smallest, largest);
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
    EXPECT_EQ(spec.shared_bytes, std::string(cache) == "full" ? 0 : 100000);
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

// At a width of whole blocks of a product's sum the proto-keys come of a table by token: training makes the same bits
// without it.
TEST(GoldFinch, TheTokenTableHasTheBitsOfTraining) {
  json config = Base();
  config["hidden_size"] = 128;
  config["num_hidden_layers"] = 3;
  config["intermediate_size"] = nullptr;
  TinyModel drawn;
  drawn.model = Build(config);
  const auto generator = at::detail::createCPUGenerator(7);
  for (const native::TensorSpec& spec : drawn.model->parameters())
    drawn.parameters[spec.name] = at::randn(spec.shape, generator, at::dtype(at::kFloat)) * 0.2;
  const FamilyCase family{"", "goldfinch", &FindFamily("goldfinch")};
  const at::Tensor tokens = RandomTokens(300, 96, 8);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    std::vector<at::Tensor> logits;
    for (const char* memo : {"1000000", "40000", "0"})  // all 96 tokens, 39 of them, none
      for (const char* cache : {"full", "proto_keys", "compressed"}) {
        const TinyModel model = Convert(family, drawn, dtype, {{"cache", cache}, {"memo_bytes", memo}});
        Sampler sampler(model, dtype);
        const int64_t slot = sampler.Slot();
        const at::Tensor prompt = sampler.Read(slot, tokens.narrow(0, 0, 290));
        logits.push_back(sampler.Logits(at::cat({prompt, sampler.Read(slot, tokens.narrow(0, 290, 10))})));
        EXPECT_TRUE(at::equal(logits.back(), logits[0])) << cache << " " << memo << " " << dtype;
      }
    if (dtype == at::kBFloat16 && nn::HasBfloat16Dots()) continue;  // training multiplies natively there
    const at::NoGradGuard no_grad;
    const TinyModel model = Convert(family, drawn, dtype);
    EXPECT_TRUE(at::equal(TrainLogits(*model.model, MakeBatch({tokens}, {-1})).to(at::kFloat), logits[0])) << dtype;
  }
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
