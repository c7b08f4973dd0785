#include "gguf.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "config.h"

namespace volery::qwen {
namespace {

using native::MetaValue;
using nlohmann::json;

constexpr char kRopeTensor[] = "rope_freqs.weight";

// The shortest decimal that reads back as the same float32: such files hold 1e-5 as 9.99999975e-06.
double Shortest(double value) {
  const float narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  char text[40];
  for (int digits = 1; digits <= 9; digits++) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtof(text, nullptr) == narrow) break;
  }
  return std::strtod(text, nullptr);
}

class Metadata {
 public:
  explicit Metadata(const std::map<std::string, MetaValue>& values)
      : values_(values), arch_(Text("general.architecture")) {}

  const std::string& arch() const { return arch_; }
  const MetaValue* Find(const std::string& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  std::string Text(const std::string& key) const {
    const MetaValue* value = Find(key);
    if (!value || !std::holds_alternative<std::string>(*value))
      throw std::invalid_argument("GGUF key " + key + " is missing or no string");
    return std::get<std::string>(*value);
  }
  std::string TextOr(const std::string& key, const std::string& missing) const {
    return Find(key) ? Text(key) : missing;
  }
  std::optional<double> Number(const std::string& key) const {
    const MetaValue* value = Find(key);
    if (!value) return std::nullopt;
    if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(value)) return Shortest(*real);
    if (const auto* list = std::get_if<std::vector<int64_t>>(value)) return Uniform(key, *list);
    throw std::invalid_argument("GGUF key " + key + " is no number");
  }
  double Needed(const std::string& key) const {
    const auto value = Number(key);
    if (!value) throw std::invalid_argument("GGUF key " + key + " is missing");
    return *value;
  }
  std::string Key(const std::string& name) const { return arch_ + "." + name; }

 private:
  static double Uniform(const std::string& key, const std::vector<int64_t>& list) {
    if (list.empty() || std::any_of(list.begin(), list.end(), [&](int64_t x) { return x != list[0]; }))
      throw std::invalid_argument("GGUF key " + key +
                                  " differs from layer to layer; supported: one value for all layers");
    return static_cast<double>(list[0]);
  }
  const std::map<std::string, MetaValue>& values_;
  std::string arch_;
};

int64_t VocabularySize(const Metadata& meta) {
  if (const auto size = meta.Number(meta.Key("vocab_size"))) return static_cast<int64_t>(*size);
  const MetaValue* tokens = meta.Find("tokenizer.ggml.tokens");
  if (tokens && std::holds_alternative<std::vector<std::string>>(*tokens))
    return static_cast<int64_t>(std::get<std::vector<std::string>>(*tokens).size());
  throw std::invalid_argument("GGUF: neither " + meta.Key("vocab_size") +
                              " nor tokenizer.ggml.tokens tells the vocabulary's size");
}

// rope_freqs.weight holds what each frequency is divided by: Llama-3 scaling with its published parameters,
// of which the factor is the largest divisor.
json Llama3Scaling(const Metadata& meta, int64_t head_dim, double theta) {
  const MetaValue* value = meta.Find(std::string("tensor/") + kRopeTensor);
  if (!value || !std::holds_alternative<std::vector<double>>(*value))
    throw std::invalid_argument(std::string("GGUF: the values of ") + kRopeTensor +
                                " are needed to know the rotary scaling");
  const auto& divisors = std::get<std::vector<double>>(*value);
  const double factor = divisors.empty() ? 1 : *std::max_element(divisors.begin(), divisors.end());
  nn::RotarySpec spec{.head_dim = head_dim, .theta = theta};
  const std::vector<float> base = nn::InverseFrequencies(spec);
  spec.kind = nn::RotarySpec::Kind::kLlama3;
  spec.factor = factor;
  spec.original_context = 8192;
  const std::vector<float> scaled = nn::InverseFrequencies(spec);
  bool fits = divisors.size() == base.size();
  for (size_t i = 0; fits && i < base.size(); i++)
    fits = std::abs(base[i] / scaled[i] / divisors[i] - 1) < 1e-3;
  if (!fits)
    throw std::invalid_argument(std::string("GGUF: ") + kRopeTensor +
                                " is no Llama-3 scaling (low 1, high 4, original context 8192)");
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}

json RopeScaling(const Metadata& meta, bool has_divisors, int64_t head_dim, double theta) {
  if (has_divisors) return Llama3Scaling(meta, head_dim, theta);
  // As llama.cpp reads them: an older key for the factor, and a factor without a type is linear.
  const std::optional<double> old_factor = meta.Number(meta.Key("rope.scale_linear"));
  const std::optional<double> factor = meta.Number(meta.Key("rope.scaling.factor"));
  const bool scaled = factor.value_or(old_factor.value_or(1)) != 1;
  const std::string type = meta.TextOr(meta.Key("rope.scaling.type"), scaled ? "linear" : "none");
  if (type == "none") return nullptr;
  if (type != "linear" && type != "yarn")
    throw std::invalid_argument("GGUF key " + meta.Key("rope.scaling.type") + " = " + type +
                                "; supported: none, linear, yarn");
  for (const auto& [key, plain] : {std::pair{"rope.scaling.attn_factor", 1.0},
                                   {"rope.scaling.yarn_attn_factor", 1.0},
                                   {"rope.scaling.yarn_ext_factor", 1.0},
                                   {"rope.scaling.yarn_log_multiplier", 0.0}}) {
    if (meta.Number(meta.Key(key)).value_or(plain) != plain)
      throw std::invalid_argument("GGUF key " + meta.Key(key) + " is not supported");
  }
  json out = {{"rope_type", type},
              {"factor", factor || !old_factor ? meta.Needed(meta.Key("rope.scaling.factor")) : *old_factor}};
  if (type != "yarn") return out;
  out["original_max_position_embeddings"] =
      static_cast<int64_t>(meta.Needed(meta.Key("rope.scaling.original_context_length")));
  for (const auto& [key, name] : {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"},
                                  {"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (const std::optional<double> value = meta.Number(meta.Key(key))) out[name] = *value;
  }
  return out;
}

json MakeConfig(const Metadata& meta, const std::set<std::string>& tensors) {
  static const std::map<std::string, std::string> kArchitectures = {
      {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};
  const auto architecture = kArchitectures.find(meta.arch());
  if (architecture == kArchitectures.end())
    throw std::invalid_argument("GGUF key general.architecture = " + meta.arch() +
                                "; supported: llama, qwen2, qwen3");
  if (meta.Number(meta.Key("expert_count")).value_or(0) > 0)
    throw std::invalid_argument("GGUF key " + meta.Key("expert_count") +
                                ": mixture of experts is not supported");
  const auto whole = [&](const char* name) { return static_cast<int64_t>(meta.Needed(meta.Key(name))); };
  const double window = meta.Number(meta.Key("attention.sliding_window")).value_or(0);
  if (window > 0 && window < meta.Needed(meta.Key("context_length")))
    throw std::invalid_argument("GGUF key " + meta.Key("attention.sliding_window") +
                                ": sliding windows below the context are not supported");
  json c;
  c["architectures"] = {architecture->second};
  c["model_type"] = meta.arch();
  c["vocab_size"] = VocabularySize(meta);
  c["hidden_size"] = whole("embedding_length");
  c["intermediate_size"] = whole("feed_forward_length");
  c["num_hidden_layers"] = whole("block_count");
  const int64_t heads = whole("attention.head_count"), width = whole("embedding_length");
  c["num_attention_heads"] = heads;
  c["num_key_value_heads"] =
      static_cast<int64_t>(meta.Number(meta.Key("attention.head_count_kv")).value_or(heads));
  const int64_t head_dim = static_cast<int64_t>(
      meta.Number(meta.Key("attention.key_length")).value_or(heads > 0 ? width / heads : 0));
  c["head_dim"] = head_dim;
  if (const auto rotated = meta.Number(meta.Key("rope.dimension_count")); rotated && *rotated != head_dim)
    throw std::invalid_argument("GGUF key " + meta.Key("rope.dimension_count") + " = " +
                                std::to_string(*rotated) + "; supported: the head dimension, " +
                                std::to_string(head_dim));
  c["hidden_act"] = "silu";
  c["max_position_embeddings"] = whole("context_length");
  c["rms_norm_eps"] = meta.Needed(meta.Key("attention.layer_norm_rms_epsilon"));
  const double theta = meta.Number(meta.Key("rope.freq_base")).value_or(10000);
  c["rope_theta"] = theta;
  c["rope_scaling"] = RopeScaling(meta, tensors.count(kRopeTensor) > 0, head_dim, theta);
  c["tie_word_embeddings"] = tensors.count("output.weight") == 0;
  c["initializer_range"] = 0.02;
  c["attention_dropout"] = 0.0;
  if (meta.arch() != "qwen2") c["attention_bias"] = tensors.count("blk.0.attn_q.bias") > 0;
  if (meta.arch() == "llama") c["mlp_bias"] = tensors.count("blk.0.ffn_gate.bias") > 0;
  for (const auto& [key, name] :
       {std::pair{"bos_token_id", "bos"}, {"eos_token_id", "eos"}, {"pad_token_id", "padding"}}) {
    const auto id = meta.Number(std::string("tokenizer.ggml.") + name + "_token_id");
    c[key] = id ? json(static_cast<int64_t>(*id)) : json(nullptr);
  }
  c["use_cache"] = true;
  return c;
}

// Hugging Face's name, or empty for a name that these architectures don't have.
std::string TargetName(const std::string& source) {
  static const std::map<std::string, std::string> kTop = {{"token_embd.weight", "model.embed_tokens.weight"},
                                                          {"output_norm.weight", "model.norm.weight"},
                                                          {"output.weight", "lm_head.weight"}};
  static const std::map<std::string, std::string> kBlock = {
      {"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
      {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
      {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
      {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"}};
  if (const auto top = kTop.find(source); top != kTop.end()) return top->second;
  const size_t first = source.find('.'), second = source.find('.', first + 1), last = source.rfind('.');
  if (source.rfind("blk.", 0) != 0 || second == std::string::npos || last <= second) return "";
  const auto block = kBlock.find(source.substr(second + 1, last - second - 1));
  const std::string kind = source.substr(last);
  if (block == kBlock.end() || (kind != ".weight" && kind != ".bias")) return "";
  return "model.layers." + source.substr(first + 1, second - first - 1) + "." + block->second + kind;
}

}  // namespace

native::ImportPlan ImportGguf(const std::map<std::string, MetaValue>& metadata,
                              const std::vector<std::string>& tensors) {
  const Metadata meta(metadata);
  const json config = MakeConfig(meta, {tensors.begin(), tensors.end()});
  native::ImportPlan plan;
  plan.config_json = config.dump(2) + "\n";
  ParseConfig(plan.config_json);
  for (const std::string& source : tensors) {
    if (source == kRopeTensor) continue;
    native::ImportedTensor tensor{source, TargetName(source), 0};
    if (tensor.target.empty())
      throw std::invalid_argument("GGUF tensor " + source + ": architecture " + meta.arch() +
                                  " has no such tensor");
    // Only llama files hold the rows of q and k interleaved for pairwise rotary.
    if (meta.arch() == "llama" && tensor.target.find("self_attn.q_proj") != std::string::npos)
      tensor.unpermute_heads = config["num_attention_heads"].get<int64_t>();
    if (meta.arch() == "llama" && tensor.target.find("self_attn.k_proj") != std::string::npos)
      tensor.unpermute_heads = config["num_key_value_heads"].get<int64_t>();
    plan.tensors.push_back(tensor);
  }
  return plan;
}

}  // namespace volery::qwen
