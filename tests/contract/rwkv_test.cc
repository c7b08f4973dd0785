// The rwkv plugin against recordings of the rwkv package and of the original training code
// (tests/golden/models): what golden_models_test.cc doesn't cover.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/policy/model_source.h"
#include "core/policy/pth_file.h"
#include "core/training/trainable.h"
#include "model_fixture.h"

namespace volery::testing {
namespace {

const std::string kModels = VOLERY_SOURCE_DIR "/tests/golden/models/";

class RwkvStates : public ::testing::TestWithParam<const char*> {};

// After 1, 2, 17 and 64 tokens: logits, and every layer's state as a batch leaves it behind.
TEST_P(RwkvStates, FollowTheReference) {
  const std::string folder = kModels + GetParam();
  const TinyModel tiny = LoadModelFolder(folder, at::kFloat);
  const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
  const at::Tensor& tokens = golden.at("state_tokens");
  const at::NoGradGuard no_grad;
  for (int64_t n : {1, 2, 17, 64}) {
    const std::string count = std::to_string(n);
    Sampler sampler(tiny, at::kFloat);
    const at::Tensor hidden = sampler.Read(sampler.Slot(), tokens.narrow(0, 0, n), n - 1);
    EXPECT_LE(MaxDifference(sampler.Logits(hidden)[0], golden.at("state_logits." + count)), 1e-4) << n;
    native::Batch batch = MakeBatch({tokens.narrow(0, 0, n)}, {-1});
    batch.keep_final = true;
    const auto context = tiny.model->Begin(batch);
    at::Tensor x = tiny.model->Embed(batch, *context);
    for (int64_t i = 0; i < tiny.model->blocks(); i++) x = tiny.model->Block(i, x, *context);
    std::vector<at::Tensor> expected;
    for (int64_t i = 0; i < tiny.model->blocks(); i++)
      for (const char* part : {"att_shift", "wkv", "ffn_shift"})
        expected.push_back(golden.at("states." + count + "." + std::to_string(i) + "." + part).reshape({-1}));
    EXPECT_LE(MaxDifference(context->FinalState(0), at::cat(expected)), 1e-4) << n;
  }
}

// Truncated backpropagation: a text in two batches, the second going on from the first's state, has the
// logits of one batch.
TEST_P(RwkvStates, ATextGoesOnFromItsState) {
  const TinyModel tiny = LoadModelFolder(kModels + GetParam(), at::kDouble);
  const at::NoGradGuard no_grad;
  const at::Tensor a = RandomTokens(41, 90, 1), b = RandomTokens(23, 90, 2);
  const auto run = [&](native::Batch batch, std::vector<at::Tensor>* states) {
    batch.keep_final = true;
    const auto context = tiny.model->Begin(batch);
    at::Tensor x = tiny.model->Embed(batch, *context);
    for (int64_t i = 0; i < tiny.model->blocks(); i++) x = tiny.model->Block(i, x, *context);
    for (size_t s = 0; states && s < batch.segments.size(); s++)
      states->push_back(context->FinalState(static_cast<int64_t>(s)));
    return tiny.model->Logits(tiny.model->Final(x));
  };
  const at::Tensor whole = at::cat({run(MakeBatch({a}, {-1}), nullptr), run(MakeBatch({b}, {-1}), nullptr)});
  std::vector<at::Tensor> states;
  const at::Tensor first = run(MakeBatch({a.narrow(0, 0, 20), b.narrow(0, 0, 5)}, {-1, -1}), &states);
  native::Batch rest = MakeBatch({a.narrow(0, 20, 21), b.narrow(0, 5, 18)}, {-1, -1});
  rest.initial = states;
  const at::Tensor second = run(rest, nullptr);
  const at::Tensor parts = at::cat({first.narrow(0, 0, 20), second.narrow(0, 0, 21), first.narrow(0, 20, 5),
                                    second.narrow(0, 21, 18)});
  EXPECT_LE(MaxDifference(parts, whole), 1e-5);  // states pass as float32
  rest.initial[0] = at::zeros({7});
  EXPECT_THROW(tiny.model->Begin(rest), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Recorded, RwkvStates, ::testing::Values("rwkv5-d64", "rwkv6-d64", "rwkv6-d128"),
                         [](const auto& info) {
                           std::string name = info.param;
                           name[5] = '_';
                           return name;
                         });

// A learned initial state: logits and its gradient.
TEST(RwkvTimeState, IsWhereATextBegins) {
  const std::string folder = kModels + "rwkv6-d64";
  const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
  TinyModel plain = LoadModelFolder(folder, at::kFloat);
  nlohmann::json config = nlohmann::json::parse(plain.model->config_json());
  config["time_state"] = true;
  TinyModel tiny;
  tiny.linears = nn::MakeLinearFactory();
  tiny.model = FindFamily("rwkv6").Build(config.dump(), {.dtype = at::kFloat, .linears = tiny.linears.get()});
  tiny.parameters = plain.parameters;
  const auto name = [](int64_t i) { return "rwkv.blocks." + std::to_string(i) + ".attention.time_state"; };
  for (int64_t i = 0; i < tiny.model->blocks(); i++)
    tiny.parameters[name(i)] = golden.at("initial." + std::to_string(i) + ".wkv")
                                   .transpose(1, 2)
                                   .contiguous()
                                   .set_requires_grad(true);
  tiny.model->Bind(tiny.parameters);
  const at::Tensor tokens = golden.at("tokens")[0];
  const at::Tensor logits = TrainLogits(*tiny.model, MakeBatch({tokens}, {-1}));
  EXPECT_LE(MaxDifference(logits, golden.at("initial_logits")), 1e-4);
  Sampler sampler(tiny, at::kFloat);
  const int64_t slot = sampler.Slot();
  const at::Tensor sampled = at::cat({sampler.Read(slot, tokens.narrow(0, 0, 9)),
                                      sampler.Read(slot, tokens.narrow(0, 9, tokens.size(0) - 9))});
  EXPECT_LE(MaxDifference(sampler.Logits(sampled), golden.at("initial_logits")), 1e-4);
  const int64_t n = tokens.size(0) - 1;
  at::cross_entropy_loss(logits.narrow(0, 0, n), tokens.narrow(0, 1, n)).backward();
  for (int64_t i = 0; i < tiny.model->blocks(); i++) {
    const at::Tensor expected = golden.at("initial_grad." + std::to_string(i));
    const at::Tensor found = tiny.parameters.at(name(i)).grad().transpose(1, 2);
    EXPECT_LE((found - expected).norm().item<double>(), 1e-3 * expected.norm().item<double>()) << i;
  }
}

// Initial values and optimiser groups against the original training code's own constructors.
TEST(RwkvInitialise, IsThatOfTheTrainingCode) {
  const nlohmann::json recorded = nlohmann::json::parse(ReadText(kModels + "init.json"));
  for (const auto& [family, key] : {std::pair("rwkv5", "x052"), std::pair("rwkv6", "x060")}) {
    native::ScratchConfig scratch;
    scratch.family = family;
    scratch.layers = 3;
    scratch.width = 64;
    scratch.heads = 2;
    scratch.vocabulary = 168;
    const auto model = FindFamily(family).Build(FindFamily(family).ScratchConfigJson(scratch), {});
    native::NamedTensors parameters;
    std::vector<native::FileTensor> originals;
    for (const auto& [name, entry] : recorded[key].items())
      originals.push_back({name, entry["shape"].get<std::vector<int64_t>>()});
    const auto plan = FindFamily(family).ImportPth(originals);
    ASSERT_TRUE(plan.has_value());
    ASSERT_EQ(plan->tensors.size(), model->parameters().size());
    std::map<std::string, std::string> original;
    for (const native::ImportedTensor& t : plan->tensors) original[t.target] = t.source;
    for (const native::TensorSpec& spec : model->parameters()) parameters[spec.name] = at::empty(spec.shape);
    model->Initialise(parameters, 11);
    // As configs/README.md has them.
    const char* second_stage = key == std::string("x052")
                                   ? R"({"*.time_decay":5.0, "*.time_mix_*":5.0, "*.time_faaaa":5.0})"
                                   : R"({"*.time_decay":5.0, "*.time_maa_?":5.0, "*.time_faaaa":5.0})";
    const auto scales =
        training::LearningRateScales(model->parameters(), {}, nlohmann::json::parse(second_stage));
    ASSERT_TRUE(scales.ok()) << scales.status();
    for (const native::TensorSpec& spec : model->parameters()) {
      const nlohmann::json& entry = recorded[key][original.at(spec.name)];
      const at::Tensor& tensor = parameters.at(spec.name);
      EXPECT_EQ(entry["shape"].get<std::vector<int64_t>>(), spec.shape) << spec.name;
      EXPECT_EQ(entry["lr_scale"].get<double>(), spec.lr_scale) << spec.name;
      const auto second = scales->find(spec.name);
      EXPECT_EQ(entry["lr_scale_stage_2"].get<double>(), second == scales->end() ? spec.lr_scale : second->second)
          << spec.name;
      EXPECT_EQ(entry["weight_decay"].get<bool>(), spec.weight_decay) << spec.name;
      if (entry.contains("values")) {
        std::vector<double> values;
        const std::function<void(const nlohmann::json&)> flatten = [&](const nlohmann::json& v) {
          if (v.is_array())
            for (const auto& x : v) flatten(x);
          else
            values.push_back(v.get<double>());
        };
        flatten(entry["values"]);
        EXPECT_LE(MaxDifference(tensor.flatten(), at::tensor(values, at::kDouble)), 1e-6) << spec.name;
      } else if (entry.contains("constant")) {
        EXPECT_LE(MaxDifference(tensor, at::full_like(tensor, entry["constant"].get<double>())), 1e-6) << spec.name;
      } else {
        EXPECT_NEAR(tensor.std().item<double>(), entry["std"].get<double>(), 0.05 * entry["std"].get<double>())
            << spec.name;
        if (entry.contains("uniform_within")) {
          EXPECT_LE(tensor.abs().max().item<double>(), entry["uniform_within"].get<double>()) << spec.name;
        }
        if (entry.contains("orthogonal_gain")) {
          const double gain = entry["orthogonal_gain"].get<double>();
          const bool tall = tensor.size(0) > tensor.size(1);
          const at::Tensor square = tall ? tensor.t().mm(tensor) : tensor.mm(tensor.t());
          EXPECT_LE(MaxDifference(square, at::eye(square.size(0)) * gain * gain), 1e-4 * gain * gain) << spec.name;
        }
      }
    }
  }
}

// A bfloat16 checkpoint in the training code's names, opened as a user's: the package's logits for it.
TEST(RwkvPth, OpensWithTheLogitsOfThePackage) {
  const plugin::PluginHost host({std::string(VOLERY_BINARY_DIR) + "/lib/volery/plugins"});
  for (const std::string name : {"rwkv5-d64", "rwkv6-d64"}) {
    policy::OpenOptions options;
    options.needs_tokenizer = false;
    const auto source = policy::OpenModel(kModels + name + ".pth", policy::FamiliesOf(host), options);
    ASSERT_TRUE(source.ok()) << source.status();
    const auto model = source->Build(at::kFloat, at::kCPU);
    ASSERT_TRUE(model.ok()) << model.status();
    const native::NamedTensors golden = ReadSafetensors(kModels + name + "/golden.safetensors");
    const auto weights = (*model)->Prepare(source->weights, 0);
    const auto state = (*model)->MakeState(at::kFloat);
    const at::Tensor tokens = golden.at("tokens")[0].narrow(0, 0, 17).to(at::kInt).contiguous();
    const std::span<const int32_t> ids(tokens.data_ptr<int32_t>(), 17);
    const std::vector<native::Chunk> chunks = {{state->Allocate(17), ids, 0, 0}};
    const at::Tensor logits = (*model)->Logits(*weights, (*model)->Advance(*weights, *state, chunks));
    EXPECT_LE(MaxDifference(logits, golden.at("pth_logits")), 1e-4) << name;
    // Written again it has the same tensors.
    const std::string copy = ::testing::TempDir() + name + ".copy.pth";
    ASSERT_TRUE(policy::WritePthFile(*source, copy, at::kBFloat16).ok());
    const auto again = policy::OpenModel(copy, policy::FamiliesOf(host), options);
    ASSERT_TRUE(again.ok()) << again.status();
    for (const auto& [key, tensor] : source->weights) EXPECT_TRUE(at::equal(tensor, again->weights.at(key))) << key;
    policy::OpenOptions bytes;
    bytes.tokenizer = "bytes";
    EXPECT_FALSE(policy::OpenModel(kModels + name + ".pth", policy::FamiliesOf(host), bytes).ok());  // 259 ids, 168 rows
  }
}

TEST(RwkvPth, TellsVersionsAndNamesWhatIsWrong) {
  native::ModelFamily& family = FindFamily("rwkv6");
  const nlohmann::json recorded = nlohmann::json::parse(ReadText(kModels + "init.json"));
  const auto shapes = [&](const char* key) {
    std::vector<native::FileTensor> out;
    for (const auto& [name, entry] : recorded[key].items())
      out.push_back({name, entry["shape"].get<std::vector<int64_t>>()});
    return out;
  };
  const auto message = [&](const std::vector<native::FileTensor>& tensors) -> std::string {
    try {
      family.ImportPth(tensors);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_FALSE(family.ImportPth({{"model.embed_tokens.weight", {3, 4}}}).has_value());
  auto missing = shapes("x060");
  std::erase_if(missing, [](const auto& t) { return t.name == "blocks.1.att.time_maa_w2"; });
  EXPECT_NE(message(missing).find("blocks.1.att.time_maa_w2 is missing"), std::string::npos) << message(missing);
  auto surplus = shapes("x060");
  surplus.push_back({"blocks.0.att.extra", {4}});
  EXPECT_NE(message(surplus).find("blocks.0.att.extra is surplus"), std::string::npos);
  auto wrong = shapes("x052");
  for (auto& t : wrong)
    if (t.name == "blocks.2.ffn.value.weight") t.shape = {64, 7};
  EXPECT_NE(message(wrong).find("blocks.2.ffn.value.weight has shape [64, 7]"), std::string::npos) << message(wrong);
  auto seven = shapes("x060");
  seven.push_back({"blocks.0.att.r_k", {2, 32}});
  EXPECT_NE(message(seven).find("RWKV-7"), std::string::npos);
  auto four = shapes("x052");
  std::erase_if(four, [](const auto& t) { return t.name.find("ln_x") != std::string::npos; });
  EXPECT_NE(message(four).find("RWKV-4"), std::string::npos) << message(four);
  auto old = shapes("x052");
  for (auto& t : old)
    if (t.name.ends_with("time_decay")) t.shape = {2};
  EXPECT_NE(message(old).find("5.0 or 5.1"), std::string::npos) << message(old);
}

TEST(RwkvConfig, RefusesWhatItCantHonour) {
  native::ModelFamily& family = FindFamily("rwkv6");
  nlohmann::json config = nlohmann::json::parse(ReadText(kModels + "rwkv6-d64/config.json"));
  const auto message = [&](const std::string& key, const nlohmann::json& value) -> std::string {
    nlohmann::json changed = config;
    changed[key] = value;
    try {
      family.Build(changed.dump(), {});
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message("num_attention_heads", 3), "no error");  // stale in published files
  EXPECT_NE(message("model_type", "rwkv7").find("supported: rwkv5, rwkv6"), std::string::npos);
  EXPECT_NE(message("head_size", 24).find("multiples of 16"), std::string::npos);
  EXPECT_NE(message("hidden_size", 72).find("multiple of head_size"), std::string::npos);
  EXPECT_NE(message("attention_hidden_size", 32).find("supported: hidden_size"), std::string::npos);
  EXPECT_NE(message("tie_word_embeddings", true).find("supported: false"), std::string::npos);
  EXPECT_NE(message("vocab_size", -1).find("positive whole number"), std::string::npos);
  EXPECT_THROW(family.CompleteConfig(R"({"model_type": "rwkv6", "intermediate_size": 7})",
                                     {{"rwkv.blocks.0.feed_forward.key.weight", {224, 64}}}),
               std::invalid_argument);
}

}  // namespace
}  // namespace volery::testing
