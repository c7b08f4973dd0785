#include "config.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace volery::qwen {
namespace {

using nlohmann::json;
using namespace native::config;

const std::map<std::string, std::string> kArchitectures = {
    {"Qwen2ForCausalLM", "qwen2"}, {"Qwen3ForCausalLM", "qwen3"}, {"LlamaForCausalLM", "llama"}};

std::string Family(const json& config) {
  std::string from_architecture;
  if (Has(config, "architectures") && config["architectures"].is_array() &&
      !config["architectures"].empty()) {
    const json& name = config["architectures"][0];
    const auto found = name.is_string() ? kArchitectures.find(name.get<std::string>()) : kArchitectures.end();
    if (found == kArchitectures.end())
      Refuse("architectures[0]", name, "supported: Qwen2ForCausalLM, Qwen3ForCausalLM, LlamaForCausalLM");
    from_architecture = found->second;
  }
  if (!Has(config, "model_type")) {
    if (from_architecture.empty())
      throw std::invalid_argument("config.json: neither model_type nor architectures is there");
    return from_architecture;
  }
  const json& type = config["model_type"];
  if (type != "qwen2" && type != "qwen3" && type != "llama") {
    const bool experts = type.is_string() && type.get<std::string>().find("moe") != std::string::npos;
    Refuse("model_type", type,
           std::string(experts ? "mixture of experts is not supported; " : "") +
               "supported: qwen2, qwen3, llama");
  }
  if (!from_architecture.empty() && type != from_architecture)
    Refuse("model_type", type,
           "architectures[0] = " + config["architectures"][0].dump() + " says " + from_architecture);
  return type.get<std::string>();
}

void RefuseForeignKeys(const json& config, const Config& c) {
  for (const char* key : {"quantization_config", "auto_map"})
    if (Has(config, key)) Refuse(key, config[key], "supported: none (plain weights, no custom code)");
  for (const char* key : {"num_experts", "num_local_experts"})
    if (NumberOr(config, key, 0) > 0) Refuse(key, config[key], "mixture of experts is not supported");
  if (Has(config, "hidden_act") && config["hidden_act"] != "silu")
    Refuse("hidden_act", config["hidden_act"], "supported: silu");
  if (NumberOr(config, "pretraining_tp", 1) > 1)
    Refuse("pretraining_tp", config["pretraining_tp"], "supported: 1");
  if (c.family != "llama" && BoolOr(config, "mlp_bias", false))
    Refuse("mlp_bias", config["mlp_bias"], c.family + " has no such weights; supported: false");
  if (c.family == "qwen2" && !BoolOr(config, "attention_bias", true))
    Refuse("attention_bias", config["attention_bias"],
           "qwen2 always has biases of q, k and v; supported: true or absent");
}

// A window that no sequence outgrows is full attention.
void RefuseSlidingWindows(const json& config, const Config& c) {
  // Without the key transformers takes 4096; null is no window.
  const double window = config.contains("sliding_window") ? NumberOr(config, "sliding_window", 0) : 4096;
  const bool wide = window >= static_cast<double>(c.context);
  if (Has(config, "layer_types")) {
    for (const json& type : config["layer_types"])
      if (type != "full_attention" && !(type == "sliding_attention" && wide))
        Refuse("layer_types", type,
               "supported: full_attention, or a sliding_window of at least max_position_embeddings");
    return;
  }
  const bool none = config.contains("sliding_window") && config["sliding_window"].is_null();
  if (!BoolOr(config, "use_sliding_window", false) || wide || none) return;
  if (NumberOr(config, "max_window_layers", 28) < static_cast<double>(c.layers))
    Refuse("use_sliding_window", config["use_sliding_window"],
           "supported: false, max_window_layers >= num_hidden_layers, or sliding_window >= "
           "max_position_embeddings (" +
               std::to_string(c.context) + ")");
}

void ParseHeads(const json& config, Config& c) {
  c.heads = Positive(config, "num_attention_heads");
  if (Has(config, "num_key_value_heads"))
    c.kv_heads = Positive(config, "num_key_value_heads");
  else if (c.family == "llama" || config.contains("num_key_value_heads"))
    c.kv_heads = c.heads;
  else
    throw std::invalid_argument("config.json: num_key_value_heads is missing; " + c.family +
                                " files state it");
  if (c.heads % c.kv_heads != 0)
    Refuse("num_key_value_heads", c.kv_heads,
           "it must divide num_attention_heads = " + std::to_string(c.heads));
  if (Has(config, "head_dim")) {
    c.head_dim = Positive(config, "head_dim");
  } else if (c.family == "qwen3") {
    c.head_dim = 128;
  } else {
    if (c.width % c.heads != 0)
      Refuse("hidden_size", c.width, "without head_dim it must be a multiple of num_attention_heads");
    c.head_dim = c.width / c.heads;
  }
  if (c.head_dim % 2 != 0 || c.head_dim > 512)
    Refuse("head_dim", c.head_dim, "supported: even numbers up to 512");
}

void ParseBiases(const json& config, Config& c) {
  const bool attention_bias = BoolOr(config, "attention_bias", false);
  c.qkv_bias = c.family == "qwen2" || attention_bias;
  c.output_bias = c.family != "qwen2" && attention_bias;
  c.mlp_bias = c.family == "llama" && BoolOr(config, "mlp_bias", false);
  c.head_norm = c.family == "qwen3";
}

}  // namespace

Config ParseConfig(const std::string& config_json) {
  const json config = Parse(config_json);
  Config c;
  c.family = Family(config);
  c.layers = Positive(config, "num_hidden_layers");
  c.width = Positive(config, "hidden_size");
  c.ffn_width = Positive(config, "intermediate_size");
  c.vocabulary = Positive(config, "vocab_size");
  c.context = Has(config, "max_position_embeddings") ? Positive(config, "max_position_embeddings")
              : c.family == "llama"                  ? 2048
                                                     : 32768;
  c.eps = NumberOr(config, "rms_norm_eps", 1e-6);
  c.init_std = NumberOr(config, "initializer_range", 0.02);
  c.attention_dropout = NumberOr(config, "attention_dropout", 0);
  c.tied = BoolOr(config, "tie_word_embeddings", false);
  RefuseForeignKeys(config, c);
  RefuseSlidingWindows(config, c);
  ParseHeads(config, c);
  ParseBiases(config, c);
  c.rotary = ParseRotary(config, c.head_dim, c.context);
  c.stop_ids = StopIds(config);
  return c;
}

std::string ScratchConfigJson(const native::ScratchConfig& scratch) {
  const auto given = [](int64_t value, int64_t otherwise) { return value > 0 ? value : otherwise; };
  const int64_t width = given(scratch.width, 256),
                heads = given(scratch.heads, std::max<int64_t>(1, width / 64));
  if (width % heads != 0 || (width / heads) % 2 != 0)
    throw std::invalid_argument("model.width = " + std::to_string(width) + ", model.heads = " +
                                std::to_string(heads) + ": width / heads must be an even whole number");
  if (scratch.vocabulary <= 0) throw std::invalid_argument("model.vocabulary is missing");
  json c;
  if (scratch.family == "qwen2")
    c["architectures"] = {"Qwen2ForCausalLM"};
  else if (scratch.family == "qwen3")
    c["architectures"] = {"Qwen3ForCausalLM"};
  else if (scratch.family == "llama")
    c["architectures"] = {"LlamaForCausalLM"};
  else
    throw std::invalid_argument("model.family = " + scratch.family + ": supported: qwen2, qwen3, llama");
  c["model_type"] = scratch.family;
  c["vocab_size"] = scratch.vocabulary;
  c["hidden_size"] = width;
  c["intermediate_size"] = given(scratch.ffn_width, (width * 8 / 3 + 31) / 32 * 32);
  c["num_hidden_layers"] = given(scratch.layers, 4);
  c["num_attention_heads"] = heads;
  c["num_key_value_heads"] = given(scratch.kv_heads, heads);
  c["head_dim"] = width / heads;
  c["hidden_act"] = "silu";
  c["max_position_embeddings"] = given(scratch.context, 2048);
  c["rms_norm_eps"] = 1e-6;
  c["rope_theta"] = 10000.0;
  c["rope_scaling"] = nullptr;
  c["initializer_range"] = 0.02;
  c["tie_word_embeddings"] = scratch.tied;
  c["attention_dropout"] = 0.0;
  if (scratch.family != "qwen2") c["attention_bias"] = false;
  if (scratch.family == "llama") c["mlp_bias"] = false;
  c["use_cache"] = true;
  const auto id = [](int64_t value) { return value >= 0 ? json(value) : json(nullptr); };
  c["bos_token_id"] = id(scratch.bos_id);
  c["eos_token_id"] = id(scratch.eos_id);
  c["pad_token_id"] = id(scratch.pad_id);
  const std::string text = c.dump(2) + "\n";
  ParseConfig(text);
  return text;
}

}  // namespace volery::qwen
