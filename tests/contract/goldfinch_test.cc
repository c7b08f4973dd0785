// GoldFinch and its siblings against what the reference recorded: counts, initial values, inner results, checkpoints.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "core/training/forward_pass.h"
#include "goldfinch_fixture.h"

namespace volery::testing {
namespace {

TEST(GoldFinch, CountsAndShapesOfTheReferencesOwnConfigs) {
  const json golden = json::parse(ReadText(kGoldens + "goldfinch_counts.json"));
  ASSERT_EQ(golden["counts"].size(), 13);
  for (const auto& [key, expected] : golden["counts"].items()) {
    const size_t plus = key.find('+');
    const auto model = Build(Configured(key.substr(0, plus), key.substr(plus + 1)));
    EXPECT_EQ(model->info().parameters, expected["parameters"].get<int64_t>()) << key;
    EXPECT_EQ(model->parameters().size(), expected["tensors"].get<size_t>()) << key;
  }
  const auto model = Build(Configured("L12", "goldfinch"));
  const json& shapes = golden["shapes of L12D768ctx1024minipile+goldfinch"];
  for (const native::TensorSpec& spec : model->parameters()) {
    std::string name = spec.name;
    if (name.starts_with("blocks.") && name.find(".ln0.") == std::string::npos) {
      const size_t end = name.find('.', 7);
      name = (std::stoi(name.substr(7, end - 7)) < 8 ? "blocks.0-7" : "blocks.8-11") + name.substr(end);
    }
    ASSERT_TRUE(shapes.contains(name)) << name;
    EXPECT_EQ(spec.shape, shapes[name].get<std::vector<int64_t>>()) << name;
  }
}

void CompareInitial(const std::string& name, const json& expected, const at::Tensor& value) {
  const std::string how = expected["init"];
  const double low = value.min().item<double>(), high = value.max().item<double>();
  if (how == "zeros" || how == "ones" || how == "constant") {
    const double all = how == "zeros" ? 0 : how == "ones" ? 1 : expected["value"].get<double>();
    EXPECT_LE(std::max(std::abs(low - all), std::abs(high - all)), 1e-6) << name;
  } else if (how == "values") {
    const auto values = expected["values"].get<std::vector<double>>();
    EXPECT_LE(MaxDifference(value.flatten(), at::tensor(values, at::kDouble)), 2e-6) << name;
  } else if (how == "uniform") {
    const double bound = expected["high"];
    EXPECT_TRUE(low >= -bound && low < -0.8 * bound && high <= bound && high > 0.8 * bound) << name;
    EXPECT_NEAR(value.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound) << name;
  } else {
    ASSERT_EQ(how, "orthogonal");
    const at::Tensor wide = value.to(at::kDouble), m = wide.size(0) <= wide.size(1) ? wide : wide.t();
    const double gain = expected["gain"];
    EXPECT_LE(MaxDifference(m.mm(m.t()), gain * gain * at::eye(m.size(0), at::kDouble)), 1e-5) << name;
  }
}

TEST(GoldFinch, InitialValuesAndOptimiserGroups) {
  const json golden = json::parse(ReadText(kGoldens + "goldfinch_init.json"));
  for (const char* name : {"goldfinch", "finch", "gptalpha", "llama-like"}) {
    SCOPED_TRACE(name);
    const auto model = Build(golden[std::string(name) + ".config"]);
    const json& expected = golden[name];
    ASSERT_EQ(model->parameters().size(), expected.size());
    native::NamedTensors tensors;
    for (const native::TensorSpec& spec : model->parameters()) tensors[spec.name] = at::empty(spec.shape);
    model->Initialise(tensors, 3);
    for (const native::TensorSpec& spec : model->parameters()) {
      ASSERT_TRUE(expected.contains(spec.name)) << spec.name;
      const json& e = expected[spec.name];
      EXPECT_EQ(spec.shape, e["shape"].get<std::vector<int64_t>>()) << spec.name;
      EXPECT_EQ(spec.lr_scale, e["lr_scale"].get<double>()) << spec.name;
      EXPECT_EQ(spec.weight_decay, e["weight_decay"].get<double>() > 0) << spec.name;
      CompareInitial(spec.name, e, tensors.at(spec.name));
    }
  }
}

TEST(GoldFinch, RefusesConfigsItCannotHonour) {
  struct Bad {
    const char* patch;
    std::vector<std::string> mentions;
  };
  const std::vector<Bad> all = {
      {R"({"model_type": "rwkv6"})", {"model_type", "rwkv6", "goldfinch"}},
      {R"({"tmix": "mamba"})", {"tmix", "mamba", "x060c2"}},
      {R"({"tmix": "gold"})", {"tmix", "gold", "tmix2 only"}},
      {R"({"tmix2": null})", {"tmix2 is missing"}},
      {R"({"cmix2": "llama"})", {"cmix2", "llama", "x060"}},
      {R"({"num_hidden_layers": 0})", {"num_hidden_layers", "positive"}},
      {R"({"num_hidden_layers": 1})", {"inv_other_layer_ratio", "a layer below"}},
      {R"({"inv_other_layer_ratio": 1})", {"inv_other_layer_ratio", "a layer below"}},
      {R"({"inv_other_layer_ratio": 0.5})", {"inv_other_layer_ratio", "0.5", "at least 1"}},
      {R"({"kv_cache_compression_ratio": 64})", {"kv_cache_compression_ratio", "64", "32"}},
      {R"({"kv_cache_compression_ratio": 0})", {"kv_cache_compression_ratio"}},
      {R"({"head_size": 12})", {"head_size", "12", "divide"}},
      {R"({"head_size": 8})", {"head_size", "8", "multiple of 16"}},
      {R"({"use_v2": 1})", {"use_v2", "1", "true or false"}},
      {R"({"rope_theta": -1})", {"rope_theta", "-1", "positive"}},
      {R"({"rope_scaling": {"factor": 2}})", {"rope_scaling", "factor"}},
      {R"({"tie_word_embeddings": true})", {"tie_word_embeddings", "false"}},
      {R"({"parallel": true})", {"parallel", "false"}},
      {R"({"dropout": 0.1})", {"dropout", "0.1"}},
      {R"({"eos_token_id": "x"})", {"eos_token_id", "x"}}};
  for (const Bad& bad : all) {
    json config = Base();
    config.merge_patch(json::parse(bad.patch));
    if (std::string(bad.patch).find("tmix2\": null") != std::string::npos) config.erase("tmix2");
    const std::string refusal = Refusal([&] { Build(config); });
    for (const std::string& word : bad.mentions) EXPECT_THAT(refusal, HasSubstr(word)) << bad.patch;
  }
  EXPECT_THAT(Refusal([] { Build(Base(), {.options = {{"cache", "small"}}}); }),
              HasSubstr("proto_keys, compressed"));
  EXPECT_THAT(Refusal([] { Build(Base(), {.options = {{"cash", "full"}}}); }), HasSubstr("no option cash"));
  for (const char* bytes : {"-1", "1e6", "", "7 MB"})
    EXPECT_THAT(Refusal([&] { Build(Base(), {.options = {{"memo_bytes", bytes}}}); }),
                HasSubstr(std::string("memo_bytes = \"") + bytes));
  native::ScratchConfig scratch;
  scratch.family = "goldfinch";
  scratch.vocabulary = 50;
  scratch.heads = 4;
  scratch.kv_heads = 2;
  EXPECT_THAT(Refusal([&] { FindFamily("goldfinch").ScratchConfigJson(scratch); }),
              HasSubstr("model.kv_heads = 2"));
  scratch.kv_heads = 0;
  scratch.width = 250;
  EXPECT_THAT(Refusal([&] { FindFamily("goldfinch").ScratchConfigJson(scratch); }),
              HasSubstr("model.width = 250"));
}

TEST(GoldFinch, NamesTensorsThatAreWrong) {
  const TinyModel tiny = LoadModelFolder(kGoldens + "goldfinch", at::kFloat);
  const auto both = [&](const native::NamedTensors& tensors) {
    const std::string a = Refusal([&] { tiny.model->Prepare(tensors, 0); }),
                      b = Refusal([&] { tiny.model->Bind(tensors); });
    EXPECT_EQ(a, b);
    return a;
  };
  for (const auto& [name, tensor] : tiny.parameters) {
    native::NamedTensors wrong = tiny.parameters;
    wrong.erase(name);
    EXPECT_THAT(both(wrong), HasSubstr("tensor " + name + " is missing"));
    wrong[name] = at::zeros({3, 5});
    EXPECT_THAT(both(wrong), HasSubstr("tensor " + name + " has shape [3, 5]"));
  }
  native::NamedTensors more = tiny.parameters;
  more["blocks.0.att.gate.weight"] = at::zeros({32, 32});
  EXPECT_THAT(both(more), HasSubstr("tensor blocks.0.att.gate.weight is none of the model's"));
}

// ---- Inner results and states ---------------------------------------------------------------------------

TEST(GoldFinch, ResidualsAndProtoKeysOfEveryBlock) {
  const at::NoGradGuard no_grad;
  for (const char* name : {"goldfinch", "goldfinch-half", "finch", "gptalpha"}) {
    const std::string folder = kGoldens + name;
    const TinyModel tiny = LoadModelFolder(folder, at::kDouble);
    const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
    const native::Batch batch = MakeBatch({golden.at("tokens")[0]}, {-1});
    const auto context = tiny.model->Begin(batch);
    at::Tensor x = tiny.model->Embed(batch, *context);
    EXPECT_LE(MaxDifference(x, golden.at("x0")), 1e-5);
    const int64_t width = tiny.model->info().width;
    for (int64_t i = 0; i < tiny.model->blocks(); i++) {
      x = tiny.model->Block(i, x, *context);
      EXPECT_LE(MaxDifference(x.narrow(1, 0, width), golden.at("x." + std::to_string(i))), 2e-5)
          << name << " " << i;
      if (x.size(1) == width) continue;
      EXPECT_LE(MaxDifference(x.narrow(1, width, width), golden.at("kd")), 2e-5) << name;
    }
    EXPECT_EQ(x.size(1), width);
  }
}

TEST(GoldFinch, LogitsAndStatesAfterTheFirstTokens) {
  for (const char* name : {"goldfinch", "goldfinch-rope", "goldfinch-half", "goldfinch-1to1", "finch",
                           "finch-c2", "finch-c2-plain", "finch-c2-gptalpha", "gptalpha", "llama-like"}) {
    SCOPED_TRACE(name);
    const std::string folder = kGoldens + name;
    const TinyModel tiny = LoadModelFolder(folder, at::kFloat);
    const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
    const at::Tensor& tokens = golden.at("state_tokens");
    Sampler sampler(tiny, at::kFloat);
    const int64_t slot = sampler.Slot();
    int64_t read = 0;
    for (int64_t n : {1, 2, 17, 64}) {  // going on from n tokens to the next n
      const at::Tensor row = sampler.Read(slot, tokens.narrow(0, read, n - read), n - read - 1);
      read = n;
      EXPECT_LE(MaxDifference(sampler.Logits(row)[0], golden.at("state_logits." + std::to_string(n))), 1e-4)
          << n;
      if (!tiny.model->info().recurrent) continue;
      const at::NoGradGuard no_grad;
      native::Batch batch = MakeBatch({tokens.narrow(0, 0, n)}, {-1});
      batch.keep_final = true;
      const auto context = tiny.model->Begin(batch);
      at::Tensor x = tiny.model->Embed(batch, *context);
      std::vector<at::Tensor> expected;
      for (int64_t i = 0; i < tiny.model->blocks(); i++) {
        x = tiny.model->Block(i, x, *context);
        const std::string prefix = "states." + std::to_string(n) + "." + std::to_string(i) + ".";
        for (const char* part : {"tmix_shift", "cmix_shift", "wkv"})
          expected.push_back(golden.at(prefix + part).flatten());
      }
      EXPECT_LE(MaxDifference(context->FinalState(0), at::cat(expected)), 1e-4) << n;
    }
  }
}

// A text in two batches, the second from where the first ended, is the text in one.
TEST(GoldFinch, TrainingGoesOnFromAState) {
  for (const char* name : {"finch", "finch-c2"}) {
    const TinyModel tiny = LoadModelFolder(kGoldens + name, at::kFloat);
    const at::Tensor tokens = RandomTokens(50, 96, 4), other = RandomTokens(9, 96, 5);
    const at::NoGradGuard no_grad;
    const at::Tensor whole = TrainLogits(*tiny.model, MakeBatch({tokens}, {-1}));
    native::Batch first = MakeBatch({other, tokens.narrow(0, 0, 21)}, {-1, -1});
    first.keep_final = true;
    const auto context = tiny.model->Begin(first);
    at::Tensor x = tiny.model->Embed(first, *context);
    for (int64_t i = 0; i < tiny.model->blocks(); i++) x = tiny.model->Block(i, x, *context);
    native::Batch second = MakeBatch({tokens.narrow(0, 21, 29), other}, {-1, -1});
    second.initial = {context->FinalState(1), {}};
    const at::Tensor rest = TrainLogits(*tiny.model, second);
    EXPECT_TRUE(at::equal(rest.narrow(0, 0, 29), whole.narrow(0, 21, 29))) << name;
    EXPECT_TRUE(at::equal(rest.narrow(0, 29, 9), TrainLogits(*tiny.model, MakeBatch({other}, {-1})))) << name;
    second.initial = {at::zeros({5}), {}};
    EXPECT_THAT(Refusal([&] { tiny.model->Begin(second); }), HasSubstr("has 5 values"));
  }
  const TinyModel gold = LoadModelFolder(kGoldens + "goldfinch", at::kFloat);
  EXPECT_FALSE(gold.model->info().recurrent);
  native::Batch batch = MakeBatch({RandomTokens(4, 96, 1)}, {-1});
  batch.keep_final = true;
  EXPECT_THROW(gold.model->Begin(batch), std::invalid_argument);
}

TEST(GoldFinch, RefusesPositionsBeyondTheRotaryTable) {
  const TinyModel tiny = LoadModelFolder(kGoldens + "goldfinch-rope", at::kFloat);  // context 128
  const at::Tensor tokens = RandomTokens(129, 96, 1);
  EXPECT_THAT(Refusal([&] { tiny.model->Begin(MakeBatch({tokens}, {-1})); }),
              HasSubstr("max_position_embeddings = 128"));
  EXPECT_EQ(TrainLogits(*tiny.model, MakeBatch({tokens.narrow(0, 0, 128)}, {-1})).size(0), 128);
  Sampler sampler(tiny, at::kFloat);
  const int64_t slot = sampler.Slot();
  sampler.Read(slot, tokens.narrow(0, 0, 128), 128);
  EXPECT_THAT(Refusal([&] { sampler.Read(slot, tokens.narrow(0, 128, 1)); }), HasSubstr("position 128"));
  EXPECT_EQ(sampler.state->Length(slot), 128);
}

// ---- The reference's checkpoints ------------------------------------------------------------------------

std::vector<native::FileTensor> FileTensors(const native::NamedTensors& tensors) {
  std::vector<native::FileTensor> out;
  for (const auto& [name, tensor] : tensors) out.push_back({name, tensor.sizes().vec()});
  return out;
}

TEST(GoldFinch, ReadsTheModelFromACheckpointsShapes) {
  const native::ModelFamily& family = FindFamily("goldfinch");
  for (const char* name :
       {"goldfinch", "goldfinch-half", "goldfinch-1to1", "finch-c2", "finch-c2-gptalpha"}) {
    SCOPED_TRACE(name);
    const std::string folder = kGoldens + name;
    const native::NamedTensors tensors = ReadSafetensors(folder + "/model.safetensors");
    const auto plan = family.ImportPth(FileTensors(tensors));
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->tensors.size(), tensors.size());
    const json read = json::parse(plan->config_json),
               expected = json::parse(ReadText(folder + "/config.json"));
    for (const char* key : {"hidden_size", "num_hidden_layers", "vocab_size", "head_size",
                            "intermediate_size", "tmix", "tmix2", "cmix", "cmix2", "rope_theta"})
      EXPECT_EQ(read[key], expected[key]) << key;
    if (expected["tmix2"] == "gold") {
      EXPECT_EQ(read["kv_cache_compression_ratio"].get<double>(),
                expected["kv_cache_compression_ratio"].get<double>());
    }
    EXPECT_EQ(Build(read)->parameters().size(), tensors.size());
  }
  // Of a Llama-like model, and of GPTAlpha, nothing but the head size can't be read: it is 64.
  native::NamedTensors other = ReadSafetensors(kGoldens + "goldfinch/model.safetensors");
  native::NamedTensors missing = other;
  missing.erase("blocks.5.att.ln_q.bias");
  EXPECT_THAT(Refusal([&] { family.ImportPth(FileTensors(missing)); }),
              HasSubstr("blocks.5.att.ln_q.bias is missing"));
  other["blocks.2.att.extra"] = at::zeros({1});
  EXPECT_THAT(Refusal([&] { family.ImportPth(FileTensors(other)); }),
              HasSubstr("blocks.2.att.extra is none"));
  other.erase("blocks.2.att.extra");
  other["blocks.2.ffn.key.weight"] = at::zeros({64, 31});
  EXPECT_THAT(Refusal([&] { family.ImportPth(FileTensors(other)); }),
              HasSubstr("blocks.2.ffn.key.weight has shape"));
  EXPECT_FALSE(family.ImportPth({{"model.embed_tokens.weight", {5, 4}}}).has_value());
  // Finch is left to the plugin of the RWKV line.
  EXPECT_FALSE(
      family.ImportPth(FileTensors(ReadSafetensors(kGoldens + "finch/model.safetensors"))).has_value());
}

TEST(GoldFinch, ReadsFromShapesWhatAFolderLeavesOut) {
  const native::ModelFamily& family = FindFamily("goldfinch");
  for (const char* name :
       {"goldfinch", "goldfinch-half", "goldfinch-1to1", "finch", "finch-c2-gptalpha", "llama-like"}) {
    SCOPED_TRACE(name);
    const std::string folder = kGoldens + name, whole = ReadText(folder + "/config.json");
    const auto shapes = FileTensors(ReadSafetensors(folder + "/model.safetensors"));
    EXPECT_EQ(family.CompleteConfig(whole, shapes), whole);
    const auto parameters = Build(json::parse(whole))->parameters();
    json config = json::parse(whole);
    for (const char* key : {"hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size", "tmix",
                            "tmix2", "cmix", "cmix2", "inv_other_layer_ratio", "kv_cache_compression_ratio"})
      config.erase(key);
    if (std::string(name) != "llama-like")
      config.erase("head_size");  // no tensor says that of attention alone
    const auto read = Build(json::parse(family.CompleteConfig(config.dump(), shapes)))->parameters();
    ASSERT_EQ(read.size(), parameters.size());
    for (size_t i = 0; i < read.size(); i++) {
      EXPECT_EQ(read[i].name, parameters[i].name);
      EXPECT_EQ(read[i].shape, parameters[i].shape) << read[i].name;
    }
  }
  const auto shapes = FileTensors(ReadSafetensors(kGoldens + "goldfinch/model.safetensors"));
  for (const auto& [key, value] : std::map<std::string, json>{{"hidden_size", 64},
                                                              {"tmix2", "gptalpha"},
                                                              {"inv_other_layer_ratio", 2},
                                                              {"kv_cache_compression_ratio", 4},
                                                              {"time_mix_extra_dim", 16},
                                                              {"key_value_extra_dim", 32}}) {
    json config = Base();
    config[key] = value;
    EXPECT_THAT(Refusal([&] { family.CompleteConfig(config.dump(), shapes); }),
                HasSubstr("config.json: " + key + " = " + value.dump() + ", but the tensors say"));
  }
}

// The host may run a block again on the way back: what flows between blocks is all in x.
TEST(GoldFinch, BlocksRunAgainGiveTheSameGradients) {
  data::MicroBatch batch;
  for (int64_t i = 0; i < 30; i++) {
    batch.tokens.push_back(static_cast<int32_t>(i * 7 % 96));
    batch.positions.push_back(i < 20 ? i : i - 10);
  }
  batch.segments = {{0, 10, -1}, {10, 20, 0}, {20, 30, 0}};
  for (int64_t row = 9; row < 30; row++) batch.rows.push_back(row);
  for (const char* name : {"goldfinch", "finch-c2-gptalpha"}) {
    std::vector<native::NamedTensors> gradients;
    for (training::Recording recording : {training::Recording::kGraph, training::Recording::kCheckpoint}) {
      const TinyModel tiny = LoadModelFolder(kGoldens + name, at::kDouble);
      training::ForwardPass pass(*tiny.model, batch, recording, at::kCPU);
      ASSERT_EQ(pass.hidden().sizes(), at::IntArrayRef({21, 32}));
      pass.Backward(at::randn({21, 32}, at::detail::createCPUGenerator(1), at::dtype(at::kDouble)));
      gradients.emplace_back();
      for (const auto& [parameter, p] : tiny.parameters)
        if (p.grad().defined()) gradients.back()[parameter] = p.grad();
    }
    ASSERT_EQ(gradients[0].size(), gradients[1].size());
    EXPECT_GT(gradients[0].size(), 60);
    for (const auto& [parameter, g] : gradients[0])
      EXPECT_LE(MaxDifference(g, gradients[1].at(parameter)), 1e-12 * (1 + g.abs().max().item<double>()))
          << parameter;
  }
}

// The .pth has the same weights, in bfloat16.
TEST(GoldFinch, LogitsOfACheckpointInBFloat16) {
  const std::string folder = kGoldens + "goldfinch-half";
  const TinyModel tiny = LoadModelFolder(folder, at::kFloat);
  native::NamedTensors rounded;
  for (const auto& [name, tensor] : tiny.parameters)
    rounded[name] = tensor.detach().to(at::kBFloat16).to(at::kFloat);
  const native::NamedTensors golden = ReadSafetensors(folder + "/golden.safetensors");
  const auto weights = tiny.model->Prepare(rounded, 1);
  const auto state = tiny.model->MakeState(at::kFloat);
  const at::Tensor tokens = golden.at("state_tokens").narrow(0, 0, 17).to(at::kInt).contiguous();
  const native::Chunk chunk{state->Allocate(17), {tokens.const_data_ptr<int32_t>(), 17}, 0, 0};
  const at::Tensor hidden = tiny.model->Advance(*weights, *state, {&chunk, 1});
  EXPECT_LE(MaxDifference(tiny.model->Logits(*weights, hidden), golden.at("pth_logits")), 1e-4);
}

}  // namespace
}  // namespace volery::testing
