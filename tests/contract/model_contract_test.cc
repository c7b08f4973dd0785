// The contract of every model plugin: two paths, one function. Runs over every family of every installed
// plugin.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/policy/model_folder.h"
#include "core/policy/model_source.h"
#include "core/policy/version.h"
#include "model_fixture.h"

namespace volery::testing {
namespace {

// Bounds on max |difference| of logits of order one.
constexpr double kPaths32 = 1e-4;  // sampling and training, float32
constexpr double kSame32 = 2e-5;   // one path, other batches, float32
constexpr double kSame64 = 1e-9;   // float64

class ModelContract : public ::testing::TestWithParam<FamilyCase> {
 protected:
  at::Tensor Tokens(const TinyModel& tiny, int64_t count, uint64_t seed = 1) {
    return RandomTokens(count, tiny.model->info().vocabulary, seed);
  }
  // Mean cross-entropy over the next tokens of each segment.
  static at::Tensor Loss(native::Model& model, const native::Batch& batch) {
    const at::Tensor logits = TrainLogits(model, batch);
    std::vector<at::Tensor> terms;
    for (const native::Segment& s : batch.segments) {
      const int64_t n = s.end - s.begin - 1;
      if (n > 0)
        terms.push_back(
            at::cross_entropy_loss(logits.narrow(0, s.begin, n), batch.tokens.narrow(0, s.begin + 1, n)));
    }
    return at::stack(terms).mean();
  }
  static native::NamedTensors Gradients(const TinyModel& tiny, const at::Tensor& loss) {
    for (const auto& [name, p] : tiny.parameters) p.mutable_grad() = at::Tensor();
    loss.backward();
    native::NamedTensors out;
    for (const auto& [name, p] : tiny.parameters) {
      EXPECT_NE(p.grad().defined(), IsUnused(tiny.parameters, name)) << name;
      out[name] = p.grad().defined() ? p.grad().clone() : at::zeros_like(p);
    }
    return out;
  }
  static double GlobalNorm(const native::NamedTensors& tensors) {
    double sum = 0;
    for (const auto& [name, t] : tensors) sum += t.square().sum().item<double>();
    return std::sqrt(sum);
  }
};

TEST_P(ModelContract, DescribesItsParameters) {
  const TinyModel tied = MakeTiny(GetParam(), at::kFloat, true),
                  untied = MakeTiny(GetParam(), at::kFloat, false);
  for (const TinyModel* tiny : {&tied, &untied}) {
    int64_t count = 0;
    for (const native::TensorSpec& spec : tiny->model->parameters()) {
      EXPECT_EQ(tiny->parameters.at(spec.name).sizes(), at::IntArrayRef(spec.shape)) << spec.name;
      EXPECT_LE(spec.weight_decay, spec.shape.size() > 1) << spec.name;
      count += tiny->parameters.at(spec.name).numel();
    }
    EXPECT_EQ(tiny->model->info().parameters, count);
    EXPECT_EQ(tiny->model->parameters().size(), tiny->parameters.size());
  }
  EXPECT_FALSE(untied.model->info().tied);
  EXPECT_EQ(untied.parameters.size(), tied.parameters.size() + (tied.model->info().tied ? 1 : 0));
}

TEST_P(ModelContract, InitialisesAsAPureFunctionOfTheSeed) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  const auto make = [&](uint64_t seed) {
    native::NamedTensors out;
    for (const auto& [name, p] : tiny.parameters) out[name] = at::empty_like(p.detach());
    tiny.model->Initialise(out, seed);
    return out;
  };
  const native::NamedTensors a = make(1), b = make(1), c = make(2);
  int64_t drawn = 0;
  for (const auto& [name, tensor] : a) {
    EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
    const bool differs = MaxDifference(tensor, c.at(name)) > 0;
    EXPECT_LE(differs, tensor.dim() > 1) << name;
    drawn += differs ? tensor.numel() : 0;
  }
  EXPECT_GT(drawn, tiny.model->info().parameters / 2);
}

TEST_P(ModelContract, SamplingEqualsTraining) {
  for (bool tied : {true, false}) {
    const TinyModel tiny = MakeTiny(GetParam(), at::kFloat, tied);
    const at::Tensor tokens = Tokens(tiny, 150);
    Sampler sampler(tiny, at::kFloat);
    const at::Tensor sampled = sampler.Logits(sampler.Read(sampler.Slot(), tokens));
    const at::Tensor trained = TrainLogits(*tiny.model, MakeBatch({tokens}, {-1}));
    EXPECT_GT(trained.std().item<double>(), 0.3);
    EXPECT_LE(MaxDifference(sampled, trained), kPaths32);
  }
}

TEST_P(ModelContract, PreparedWeightsAreACopy) {
  for (bool tied : {true, false}) {
    const TinyModel tiny = MakeTiny(GetParam(), at::kFloat, tied);
    const at::Tensor tokens = Tokens(tiny, 9);
    Sampler untouched(tiny, at::kFloat), sampler(tiny, at::kFloat);
    const at::Tensor expected = untouched.Logits(untouched.Read(untouched.Slot(), tokens));
    {
      const at::NoGradGuard no_grad;
      for (const auto& [name, parameter] : tiny.parameters) at::Tensor(parameter).zero_();
    }
    EXPECT_TRUE(at::equal(sampler.Logits(sampler.Read(sampler.Slot(), tokens)), expected));
  }
}

// So that a policy's ratio to itself is one.
TEST_P(ModelContract, TrainingHasTheBitsOfSampling) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    if (dtype == at::kBFloat16 && nn::HasBfloat16Dots()) continue;  // training multiplies natively there
    const TinyModel tiny = Convert(GetParam(), MakeTiny(GetParam(), at::kFloat), dtype);
    const at::Tensor prompt = Tokens(tiny, 70), one = Tokens(tiny, 20, 2), other = Tokens(tiny, 33, 3);
    const at::NoGradGuard no_grad;
    const at::Tensor trained = TrainLogits(*tiny.model, MakeBatch({prompt, one, other}, {-1, 0, 0}));
    Sampler sampler(tiny, dtype);
    const int64_t slot = sampler.Slot();
    std::vector<at::Tensor> sampled = {sampler.Logits(sampler.Read(slot, prompt))};
    const int64_t fork = sampler.state->Fork(slot, 90);
    sampled.push_back(sampler.Logits(sampler.Read(slot, one)));
    sampled.push_back(sampler.Logits(sampler.Read(fork, other)));
    EXPECT_TRUE(at::equal(trained.to(at::kFloat), at::cat(sampled)))
        << dtype << ": " << MaxDifference(trained, at::cat(sampled));
  }
}

TEST_P(ModelContract, BFloat16SamplingFollowsFloat32) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  const TinyModel half = Convert(GetParam(), tiny, at::kBFloat16);
  const at::Tensor tokens = Tokens(tiny, 60);
  Sampler a(half, at::kBFloat16), b(half, at::kBFloat16);
  const at::Tensor sampled = a.Logits(a.Read(a.Slot(), tokens));
  EXPECT_EQ(a.Read(a.Slot(), tokens).scalar_type(), at::kBFloat16);
  const at::Tensor exact =
      TrainLogits(*Convert(GetParam(), half, at::kDouble).model, MakeBatch({tokens}, {-1}));
  const double scale = exact.std().item<double>();
  EXPECT_LE((sampled - exact).square().mean().sqrt().item<double>(), 0.03 * scale);
  EXPECT_LE(
      (TrainLogits(*half.model, MakeBatch({tokens}, {-1})) - exact).square().mean().sqrt().item<double>(),
      0.03 * scale);
}

TEST_P(ModelContract, PackedBatchEqualsUnpacked) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kDouble);
  const std::vector<at::Tensor> segments = {Tokens(tiny, 9, 1), Tokens(tiny, 31, 2), Tokens(tiny, 10, 3),
                                            Tokens(tiny, 1, 4)};
  const at::Tensor packed = TrainLogits(*tiny.model, MakeBatch(segments, {-1, -1, -1, -1}));
  int64_t begin = 0;
  for (const at::Tensor& segment : segments) {
    const at::Tensor alone = TrainLogits(*tiny.model, MakeBatch({segment}, {-1}));
    EXPECT_LE(MaxDifference(packed.narrow(0, begin, segment.size(0)), alone), kSame64);
    begin += segment.size(0);
  }
}

TEST_P(ModelContract, SharedPromptEqualsUnsharedWithGradients) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kDouble);
  const at::Tensor p = Tokens(tiny, 12, 1), q = Tokens(tiny, 7, 2);
  const std::vector<at::Tensor> c = {Tokens(tiny, 5, 3), Tokens(tiny, 8, 4), Tokens(tiny, 3, 5),
                                     Tokens(tiny, 6, 6)};
  // c0, c1 continue p; c2 continues q; c3 continues c0, which continues p.
  const native::Batch shared = MakeBatch({p, c[0], c[1], q, c[2], c[3]}, {-1, 0, 0, -1, 3, 1});
  const native::Batch unshared =
      MakeBatch({at::cat({p, c[0]}), at::cat({p, c[1]}), at::cat({q, c[2]}), at::cat({p, c[0], c[3]})},
                {-1, -1, -1, -1});
  const auto rows = [](const at::Tensor& logits, std::vector<std::pair<int64_t, int64_t>> ranges) {
    std::vector<at::Tensor> out;
    for (auto [begin, count] : ranges) out.push_back(logits.narrow(0, begin, count));
    return at::cat(out);
  };
  const at::Tensor a = rows(TrainLogits(*tiny.model, shared), {{12, 5}, {17, 8}, {32, 3}, {35, 6}});
  const at::Tensor b = rows(TrainLogits(*tiny.model, unshared), {{12, 5}, {29, 8}, {44, 3}, {64, 6}});
  EXPECT_LE(MaxDifference(a, b), kSame64);
  const at::Tensor targets = Tokens(tiny, a.size(0), 9);
  const native::NamedTensors ga = Gradients(tiny, at::cross_entropy_loss(a, targets));
  const native::NamedTensors gb = Gradients(tiny, at::cross_entropy_loss(b, targets));
  for (const auto& [name, g] : ga) EXPECT_LE(MaxDifference(g, gb.at(name)), kSame64) << name;
}

TEST_P(ModelContract, ForkEqualsReread) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  Sampler sampler(tiny, at::kFloat);
  const at::Tensor prompt = Tokens(tiny, 37, 1), more = Tokens(tiny, 20, 2), other = Tokens(tiny, 20, 3);
  const int64_t parent = sampler.Slot(37);
  sampler.Read(parent, prompt, 37);
  const int64_t fork = sampler.state->Fork(parent, 60), second = sampler.state->Fork(parent, 0);
  const at::Tensor forked = sampler.Read(fork, more);
  sampler.Read(second, other);  // must not disturb its siblings
  const at::Tensor again = sampler.Read(parent, more);
  const at::Tensor reread = sampler.Read(sampler.Slot(), at::cat({prompt, more}), 37);
  EXPECT_LE(MaxDifference(forked, reread), kSame32);
  EXPECT_LE(MaxDifference(again, reread), kSame32);
  sampler.state->Clear(fork);
  EXPECT_EQ(sampler.state->Length(fork), 0);
  EXPECT_LE(MaxDifference(sampler.Read(fork, at::cat({prompt, more}), 37), reread), kSame32);
}

TEST_P(ModelContract, ChunkedEqualsWhole) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  Sampler sampler(tiny, at::kFloat);
  const at::Tensor tokens = Tokens(tiny, 90);
  const at::Tensor whole = sampler.Read(sampler.Slot(), tokens);
  for (int64_t size : {1, 7, 16, 64}) {
    const int64_t slot = sampler.Slot();
    std::vector<at::Tensor> parts;
    for (int64_t i = 0; i < 90; i += size)
      parts.push_back(sampler.Read(slot, tokens.narrow(0, i, std::min(size, 90 - i))));
    EXPECT_LE(MaxDifference(at::cat(parts), whole), kSame32) << "chunks of " << size;
  }
}

TEST_P(ModelContract, MixedCallEqualsSeparateCalls) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  Sampler mixed(tiny, at::kFloat), separate(tiny, at::kFloat);
  const at::Tensor a = Tokens(tiny, 30, 1), b = Tokens(tiny, 11, 2), c = Tokens(tiny, 45, 3);
  for (Sampler* s : {&mixed, &separate}) {
    for (int i = 0; i < 3; i++) s->Slot();
    s->Read(0, a.narrow(0, 0, 29), 29);
    s->Read(2, c.narrow(0, 0, 20), 20);
  }
  const at::Tensor together = mixed.Read({{2, c.narrow(0, 20, 25)}, {0, a.narrow(0, 29, 1)}, {1, b}});
  const at::Tensor apart = at::cat(
      {separate.Read(2, c.narrow(0, 20, 25)), separate.Read(0, a.narrow(0, 29, 1)), separate.Read(1, b)});
  EXPECT_LE(MaxDifference(together, apart), kSame32);
}

TEST_P(ModelContract, ReturnsOnlyTheRowsAskedFor) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  Sampler sampler(tiny, at::kFloat);
  const at::Tensor tokens = Tokens(tiny, 20);
  const at::Tensor all = sampler.Read(sampler.Slot(), tokens, 0),
                   last = sampler.Read(sampler.Slot(), tokens, 19);
  ASSERT_EQ(last.size(0), 1);
  EXPECT_LE(MaxDifference(last, all.narrow(0, 19, 1)), kSame32);
  const int64_t slot = sampler.Slot();
  EXPECT_EQ(sampler.Read(slot, tokens, 20).size(0), 0);
  EXPECT_EQ(sampler.state->Length(slot), 20);
}

TEST_P(ModelContract, StateStaysWithinItsBudget) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const native::StateSpec spec = tiny.model->state_spec(dtype);
    const auto state = tiny.model->MakeState(dtype);
    EXPECT_EQ(state->bytes(), 0);
    const int64_t a = state->Allocate(1), b = state->Allocate(50);
    EXPECT_LE(state->bytes(), 2 * spec.bytes_per_slot + 51 * spec.bytes_per_token);
    EXPECT_GE(state->bytes(), 51 * spec.bytes_per_token);
    state->Drop(a);
    state->Drop(b);
    EXPECT_EQ(state->bytes(), 0);
    EXPECT_THROW(state->Length(a), std::invalid_argument);
  }
}

TEST_P(ModelContract, SaveLoadSaveIsByteIdentical) {
  const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
  native::ScratchConfig scratch;
  scratch.family = GetParam().family;
  scratch.layers = 2;
  scratch.width = 32;
  scratch.heads = 2;
  policy::OpenOptions options;
  options.tokenizer = "bytes";
  const auto made = policy::ModelFromScratch(scratch, 11, policy::FamiliesOf(host), options);
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string root = ::testing::TempDir() + "save_load_save_" + GetParam().family;
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root);
  const auto save = [&](const policy::ModelSource& source, const std::string& folder) {
    const auto what = policy::MakeExport(source);
    ASSERT_TRUE(what.ok()) << what.status();
    native::NamedTensors copies;
    for (const auto& [name, tensor] : source.weights) copies[name] = tensor.detach().clone();
    const Status written =
        policy::FolderModelWriter(*what).Write(folder, *policy::MakeVersion(VersionId(0), copies));
    ASSERT_TRUE(written.ok()) << written;
  };
  save(*made, root + "/a");
  const auto opened = policy::OpenModel(root + "/a", policy::FamiliesOf(host), {});
  ASSERT_TRUE(opened.ok()) << opened.status();
  save(*opened, root + "/b");
  for (const char* file : {"config.json", "model.safetensors"})
    EXPECT_EQ(ReadText(root + "/a/" + file), ReadText(root + "/b/" + file)) << file;
  std::filesystem::remove_all(root);
}

TEST_P(ModelContract, RefusesBadCalls) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  Sampler sampler(tiny, at::kFloat);
  const int64_t slot = sampler.Slot();
  EXPECT_THROW(sampler.Read(slot, at::full({2}, 61, at::kLong)), std::invalid_argument);
  EXPECT_THROW(sampler.Read({{slot, Tokens(tiny, 2)}, {slot, Tokens(tiny, 2)}}), std::invalid_argument);
  EXPECT_THROW(sampler.Read(slot + 7, Tokens(tiny, 2)), std::invalid_argument);
  EXPECT_EQ(sampler.state->Length(slot), 0);
  native::Batch gap = MakeBatch({Tokens(tiny, 4), Tokens(tiny, 4)}, {-1, -1});
  gap.segments[1].begin = 5;
  EXPECT_THROW(tiny.model->Begin(gap), std::invalid_argument);
  native::NamedTensors missing = tiny.parameters;
  missing.erase(std::prev(missing.end()));
  EXPECT_THROW(tiny.model->Prepare(missing, 0), std::invalid_argument);
}

// Along the gradient and along a random direction of each tensor; error against max(norm of its gradient,
// 1e-6 of the global norm).
TEST_P(ModelContract, GradientsAgreeWithFiniteDifferences) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kDouble, false);
  const native::Batch batch =
      MakeBatch({Tokens(tiny, 10, 1), Tokens(tiny, 7, 2), Tokens(tiny, 5, 3)}, {-1, 0, 0});
  const native::NamedTensors gradients = Gradients(tiny, Loss(*tiny.model, batch));
  const double global = GlobalNorm(gradients);
  const auto loss_at = [&](at::Tensor& p, const at::Tensor& direction, double step) {
    const at::NoGradGuard no_grad;
    const at::Tensor kept = p.detach().clone();
    p.add_(direction, step);
    const double loss = Loss(*tiny.model, batch).item<double>();
    p.copy_(kept);
    return loss;
  };
  at::Generator generator = at::detail::createCPUGenerator(3);
  for (auto [name, p] : tiny.parameters) {
    const at::Tensor& g = gradients.at(name);
    const at::Tensor random = at::randn(g.sizes(), generator, g.options());
    for (const at::Tensor& direction :
         {g / std::max(g.norm().item<double>(), 1e-30), random / random.norm()}) {
      const double h = 1e-5;
      const double numeric = (loss_at(p, direction, h) - loss_at(p, direction, -h)) / (2 * h);
      const double analytic = (g * direction).sum().item<double>();
      EXPECT_LE(std::abs(numeric - analytic) / std::max(g.norm().item<double>(), 1e-6 * global), 1e-4)
          << name;
    }
  }
}

// The bounds above are tight enough to see these mistakes.
TEST_P(ModelContract, WrongPathsExceedTheBounds) {
  const TinyModel tiny = MakeTiny(GetParam(), at::kFloat);
  const at::Tensor prompt = Tokens(tiny, 20, 1), answer = Tokens(tiny, 12, 2);
  Sampler sampler(tiny, at::kFloat);
  const at::Tensor sampled = sampler.Logits(sampler.Read(sampler.Slot(), at::cat({prompt, answer}), 20));
  const auto mismatch = [&](const native::Batch& batch) {
    return MaxDifference(TrainLogits(*tiny.model, batch).narrow(0, 20, 12), sampled);
  };
  native::Batch right = MakeBatch({prompt, answer}, {-1, 0});
  EXPECT_LE(mismatch(right), kPaths32);
  native::Batch shifted = right;
  shifted.positions = at::cat({right.positions.narrow(0, 0, 20), right.positions.narrow(0, 20, 12) + 1});
  EXPECT_EQ(mismatch(shifted) > 10 * kPaths32, ReadsPositions(GetParam().family));
  native::Batch cut = right;  // the answer doesn't see its prompt
  cut.segments[1].parent = -1;
  EXPECT_GT(mismatch(cut), 10 * kPaths32);
  native::Batch leak = MakeBatch({prompt, answer}, {-1, -1});  // it sees another prompt, for want of a mask
  leak.segments = {{0, 32, -1}};
  native::Batch alone = MakeBatch({prompt, answer}, {-1, -1});
  EXPECT_GT(MaxDifference(TrainLogits(*tiny.model, leak), TrainLogits(*tiny.model, alone)), 10 * kPaths32);
}

// The suite above runs over what is installed; these must be.
TEST(ModelPlugins, AreInstalled) {
  for (const char* family : {"qwen2", "qwen3", "llama", "rwkv5", "rwkv6", "goldfinch", "finch", "finch-c2",
                             "finch-c2-gptalpha", "gptalpha", "goldfinch-llama"})
    EXPECT_NO_THROW(FindFamily(family)) << family;
}

INSTANTIATE_TEST_SUITE_P(Plugins, ModelContract, ::testing::ValuesIn(InstalledFamilies()),
                         [](const auto& info) { return TestName(info.param.family); });

}  // namespace
}  // namespace volery::testing
