// What the qwen plugin accepts and refuses: config.json in both spellings, GGUF metadata, from-scratch keys.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model_fixture.h"
#include "volery/nn/rotary.h"

namespace volery::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Base(const std::string& family) {
  const std::map<std::string, std::string> architectures = {
      {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}, {"llama", "LlamaForCausalLM"}};
  return {{"architectures", {architectures.at(family)}},
          {"model_type", family},
          {"vocab_size", 50},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"hidden_act", "silu"},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 1e4}};
}

std::unique_ptr<native::Model> Build(const json& config, const std::string& family = "llama") {
  return FindFamily(family).Build(config.dump(), {});
}

std::string Refusal(const json& config) {
  try {
    Build(config);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "accepted";
}

struct Bad {
  const char* family;
  const char* patch;                  // merged into the base config
  std::vector<std::string> mentions;  // key, value, what is supported
};

TEST(QwenConfig, RefusesWhatItCannotHonour) {
  const std::vector<Bad> all = {
      {"llama", R"({"hidden_act": "gelu"})", {"hidden_act", "gelu", "silu"}},
      {"llama",
       R"({"model_type": "gpt2", "architectures": null})",
       {"model_type", "gpt2", "qwen2, qwen3, llama"}},
      {"llama", R"({"model_type": "qwen3_moe", "architectures": null})", {"qwen3_moe", "mixture of experts"}},
      {"llama",
       R"({"architectures": ["LlamaForSequenceClassification"]})",
       {"architectures", "LlamaForSequenceClassification"}},
      {"llama", R"({"model_type": "qwen2"})", {"model_type", "qwen2", "LlamaForCausalLM"}},
      {"llama",
       R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2}})",
       {"rope_type", "dynamic", "yarn"}},
      {"llama", R"({"rope_scaling": {"type": "longrope", "factor": 2}})", {"rope_type", "longrope"}},
      {"llama", R"({"rope_scaling": {"type": "default", "mrope_section": [1, 2]}})", {"mrope_section"}},
      {"llama", R"({"rope_scaling": {"type": "yarn"}})", {"factor", "missing"}},
      {"llama", R"({"rope_scaling": {"type": "llama3", "factor": 8}})", {"low_freq_factor"}},
      {"llama",
       R"({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})",
       {"rope_theta", "500000", "10000"}},
      {"llama", R"({"partial_rotary_factor": 0.5})", {"partial_rotary_factor", "0.5"}},
      {"qwen2",
       R"({"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 1})",
       {"use_sliding_window", "64"}},
      {"qwen2",  // the window is 4096 where the key is absent
       R"({"use_sliding_window": true, "max_position_embeddings": 8192, "max_window_layers": 1})",
       {"use_sliding_window", "8192"}},
      {"qwen3",
       R"({"layer_types": ["full_attention", "sliding_attention", "full_attention"], "sliding_window": 32})",
       {"layer_types", "sliding_attention"}},
      {"llama", R"({"quantization_config": {"quant_method": "gptq"}})", {"quantization_config", "gptq"}},
      {"llama", R"({"auto_map": {"AutoModel": "x.Y"}})", {"auto_map"}},
      {"qwen3", R"({"num_experts": 8})", {"num_experts", "8"}},
      {"qwen2", R"({"mlp_bias": true})", {"mlp_bias", "qwen2"}},
      {"qwen2", R"({"attention_bias": false})", {"attention_bias", "qwen2"}},
      {"llama", R"({"pretraining_tp": 2})", {"pretraining_tp", "2"}},
      {"llama", R"({"num_key_value_heads": 3})", {"num_key_value_heads", "3", "4"}},
      {"llama", R"({"head_dim": 7})", {"head_dim", "7", "even"}},
      {"llama", R"({"hidden_size": 33})", {"hidden_size", "33"}},
      {"llama", R"({"hidden_size": null})", {"hidden_size", "missing"}},
      {"llama", R"({"vocab_size": -4})", {"vocab_size", "-4"}},
      {"llama", R"({"vocab_size": "many"})", {"vocab_size", "many"}},
      {"llama", R"({"tie_word_embeddings": 1})", {"tie_word_embeddings"}},
      {"llama", R"({"eos_token_id": "x"})", {"eos_token_id"}},
  };
  for (const Bad& bad : all) {
    json config = Base(bad.family);
    config.merge_patch(json::parse(bad.patch));
    const std::string said = Refusal(config);
    EXPECT_NE(said, "accepted") << bad.patch;
    for (const std::string& part : bad.mentions) EXPECT_THAT(said, HasSubstr(part)) << bad.patch;
  }
  EXPECT_THROW(FindFamily("llama").Build("{", {}), std::invalid_argument);
  EXPECT_THROW(FindFamily("llama").Build("[]", {}), std::invalid_argument);
  json qwen = Base("qwen2");
  qwen.erase("num_key_value_heads");
  EXPECT_THAT(Refusal(qwen), HasSubstr("num_key_value_heads is missing"));
}

TEST(QwenConfig, AcceptsHarmlessAndUnknownKeys) {
  json config = Base("qwen2");
  config.merge_patch(
      {{"use_sliding_window", false}, {"sliding_window", 16}, {"max_window_layers", 1}, {"some_new_key", 3}});
  EXPECT_EQ(Refusal(config), "accepted");
  config.merge_patch({{"use_sliding_window", true}, {"sliding_window", 64}});  // as wide as the context
  EXPECT_EQ(Refusal(config), "accepted");
  config.merge_patch({{"sliding_window", 16}, {"max_window_layers", 3}});  // no layer slides
  EXPECT_EQ(Refusal(config), "accepted");
  json dropout = Base("llama");
  dropout["attention_dropout"] = 0.1;
  EXPECT_EQ(Refusal(dropout), "accepted");  // sampling is possible, training isn't
  const auto model = Build(dropout);
  native::NamedTensors parameters;
  for (const auto& spec : model->parameters()) parameters[spec.name] = at::zeros(spec.shape);
  EXPECT_THROW(model->Bind(parameters), std::invalid_argument);
}

TEST(QwenConfig, FillsDefaultsOfTheFamily) {
  json llama = Base("llama");
  llama.erase("num_key_value_heads");
  const auto model = Build(llama);
  EXPECT_FALSE(model->info().tied);
  for (const auto& spec : model->parameters())
    if (spec.name.find("k_proj.weight") != std::string::npos) {
      EXPECT_EQ(spec.shape, (std::vector<int64_t>{32, 32}));
    }
  const auto qwen3 = Build(Base("qwen3"));
  for (const auto& spec : qwen3->parameters()) {
    if (spec.name.find("q_proj.weight") != std::string::npos) {
      EXPECT_EQ(spec.shape, (std::vector<int64_t>{4 * 128, 32}));
    }
    EXPECT_EQ(spec.name.find("bias"), std::string::npos);
  }
  json eos = Base("llama");
  eos["eos_token_id"] = {7, 9};
  EXPECT_EQ(Build(eos)->info().stop_ids, (std::vector<int64_t>{7, 9}));
}

TEST(QwenConfig, ScratchConfigs) {
  for (const std::string family : {"qwen2", "qwen3", "llama"}) {
    native::ScratchConfig scratch;
    scratch.family = family;
    scratch.vocabulary = 100;
    scratch.eos_id = 5;
    const auto model = FindFamily(family).Build(FindFamily(family).ScratchConfigJson(scratch), {});
    EXPECT_EQ(model->info().family, family);
    EXPECT_EQ(model->info().stop_ids, std::vector<int64_t>{5});
    EXPECT_TRUE(model->info().tied);
    scratch.width = 100;
    scratch.heads = 3;
    EXPECT_THROW(FindFamily(family).ScratchConfigJson(scratch), std::invalid_argument);
  }
}

std::map<std::string, native::MetaValue> Meta(const std::string& arch) {
  return {{"general.architecture", arch},
          {arch + ".block_count", int64_t{1}},
          {arch + ".context_length", int64_t{8192}},
          {arch + ".embedding_length", int64_t{128}},
          {arch + ".feed_forward_length", int64_t{256}},
          {arch + ".attention.head_count", int64_t{2}},
          {arch + ".attention.head_count_kv", int64_t{1}},
          {arch + ".attention.layer_norm_rms_epsilon", static_cast<double>(1e-5f)},
          {arch + ".rope.freq_base", 500000.0},
          {arch + ".vocab_size", int64_t{90}},
          {"tokenizer.ggml.eos_token_id", int64_t{2}}};
}
const std::vector<std::string> kTensors = {"token_embd.weight",      "output_norm.weight",
                                           "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
                                           "blk.0.attn_k.weight",    "blk.0.ffn_down.weight"};

TEST(QwenGguf, PlansNamesAndPermutation) {
  const native::ImportPlan llama = FindFamily("llama").ImportGguf(Meta("llama"), kTensors);
  std::map<std::string, native::ImportedTensor> by_source;
  for (const auto& t : llama.tensors) by_source[t.source] = t;
  EXPECT_EQ(by_source.at("blk.0.attn_q.weight").target, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(by_source.at("blk.0.attn_q.weight").unpermute_heads, 2);
  EXPECT_EQ(by_source.at("blk.0.attn_k.weight").unpermute_heads, 1);
  EXPECT_EQ(by_source.at("blk.0.ffn_down.weight").unpermute_heads, 0);
  EXPECT_EQ(by_source.at("token_embd.weight").target, "model.embed_tokens.weight");
  const json config = json::parse(llama.config_json);
  EXPECT_EQ(config["rms_norm_eps"].get<double>(), 1e-5);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["head_dim"], 64);
  const native::ImportPlan qwen = FindFamily("qwen2").ImportGguf(Meta("qwen2"), kTensors);
  for (const auto& t : qwen.tensors) EXPECT_EQ(t.unpermute_heads, 0) << t.source;
}

TEST(QwenGguf, RefusesByName) {
  const auto refusal = [](auto meta, auto tensors) -> std::string {
    try {
      FindFamily("llama").ImportGguf(meta, tensors);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "accepted";
  };
  auto extra = kTensors;
  extra.push_back("blk.0.ffn_gate_exps.weight");
  EXPECT_THAT(refusal(Meta("llama"), extra), HasSubstr("ffn_gate_exps"));
  auto meta = Meta("llama");
  meta["llama.rope.dimension_count"] = int64_t{32};
  EXPECT_THAT(refusal(meta, kTensors), HasSubstr("rope.dimension_count"));
  meta = Meta("llama");
  meta.erase("llama.context_length");
  EXPECT_THAT(refusal(meta, kTensors), HasSubstr("llama.context_length"));
  EXPECT_THAT(refusal(Meta("gemma"), kTensors), HasSubstr("gemma"));
  extra = kTensors;
  extra.push_back("rope_freqs.weight");
  EXPECT_THAT(refusal(Meta("llama"), extra), HasSubstr("rope_freqs.weight"));
}

TEST(QwenGguf, ReadsEveryKindOfScalingOrRefusesIt) {
  const auto scaling = [](std::map<std::string, native::MetaValue> more) {
    auto meta = Meta("llama");
    for (auto& [key, value] : more) meta["llama." + key] = value;
    return json::parse(FindFamily("llama").ImportGguf(meta, kTensors).config_json)
        .value("rope_scaling", json());
  };
  const json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  EXPECT_EQ(scaling({{"rope.scale_linear", 4.0}}), linear);
  EXPECT_EQ(scaling({{"rope.scaling.factor", 4.0}}), linear);
  EXPECT_EQ(scaling({{"rope.scaling.factor", 4.0}, {"rope.scaling.type", "none"}}), json());
  EXPECT_EQ(scaling({}), json());
  const std::map<std::string, native::MetaValue> yarn = {
      {"rope.scaling.type", "yarn"},
      {"rope.scaling.factor", 4.0},
      {"rope.scaling.original_context_length", int64_t{16}},
      {"rope.scaling.yarn_beta_fast", 16.0}};
  EXPECT_EQ(scaling(yarn), (json{{"rope_type", "yarn"},
                                 {"factor", 4.0},
                                 {"original_max_position_embeddings", 16},
                                 {"beta_fast", 16.0}}));
  auto odd = yarn;
  odd["rope.scaling.yarn_attn_factor"] = 1.5;
  EXPECT_THROW(scaling(odd), std::invalid_argument);
  EXPECT_THROW(scaling({{"attention.sliding_window", int64_t{2}}}), std::invalid_argument);
}

TEST(QwenGguf, ReadsLlama3ScalingFromItsDivisors) {
  nn::RotarySpec spec{.head_dim = 64, .theta = 500000};
  const std::vector<float> base = nn::InverseFrequencies(spec);
  spec.kind = nn::RotarySpec::Kind::kLlama3;
  spec.factor = 32;
  spec.original_context = 8192;
  const std::vector<float> scaled = nn::InverseFrequencies(spec);
  std::vector<double> divisors;
  for (size_t i = 0; i < base.size(); i++) divisors.push_back(static_cast<float>(base[i] / scaled[i]));
  auto meta = Meta("llama");
  meta["tensor/rope_freqs.weight"] = divisors;
  auto tensors = kTensors;
  tensors.push_back("rope_freqs.weight");
  const native::ImportPlan plan = FindFamily("llama").ImportGguf(meta, tensors);
  EXPECT_NEAR(json::parse(plan.config_json)["rope_scaling"]["factor"].get<double>(), 32, 1e-4);
  EXPECT_EQ(plan.tensors.size(), kTensors.size());
  divisors[3] *= 2;
  meta["tensor/rope_freqs.weight"] = divisors;
  EXPECT_THROW(FindFamily("llama").ImportGguf(meta, tensors), std::invalid_argument);
}

}  // namespace
}  // namespace volery::testing
