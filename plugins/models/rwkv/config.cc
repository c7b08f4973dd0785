#include "config.h"

#include <algorithm>
#include <stdexcept>

#include "volery/native/config_json.h"

namespace volery::rwkv {
namespace {

using nlohmann::json;
using namespace native::config;

Version VersionOf(const json& config) {
  const json type = config.value("model_type", json());
  if (type == "rwkv5") return Version::kEagle;
  if (type == "rwkv6") return Version::kFinch;
  Refuse("model_type", type,
         type == "rwkv" || type == "rwkv7" ? "only RWKV-5.2 and RWKV-6 are; supported: rwkv5, rwkv6"
                                           : "supported: rwkv5, rwkv6");
}

// Ranks of the low-rank matrices where nothing says otherwise: as the original training code sets them.
int64_t UsualMixRank(int64_t width) {
  return width >= 4096 ? 64 : 32;
}
int64_t UsualDecayRank(int64_t width) {
  return width >= 4096 ? 128 : 64;
}

// The shape of the tensor whose name ends so; empty: there is none.
std::vector<int64_t> ShapeOf(const std::vector<native::FileTensor>& tensors, const std::string& end) {
  for (const native::FileTensor& t : tensors)
    if (t.name.ends_with(end)) return t.shape;
  return {};
}

}  // namespace

Config ParseConfig(const std::string& config_json) {
  const json config = Parse(config_json);
  Config c;
  c.version = VersionOf(config);
  c.layers = Positive(config, "num_hidden_layers");
  c.width = Positive(config, "hidden_size");
  c.vocabulary = Positive(config, "vocab_size");
  c.head_size = PositiveOr(config, "head_size", 64);
  // num_attention_heads is not read: published files have the head size, or an old value, there.
  if (c.head_size % 16 != 0 || c.head_size > 128)
    Refuse("head_size", c.head_size, "supported: multiples of 16 up to 128");
  if (c.width % c.head_size != 0)
    Refuse("hidden_size", c.width, "it must be a multiple of head_size = " + std::to_string(c.head_size));
  if (PositiveOr(config, "attention_hidden_size", c.width) != c.width)
    Refuse("attention_hidden_size", config["attention_hidden_size"],
           "supported: hidden_size = " + std::to_string(c.width));
  c.ffn_width = PositiveOr(config, "intermediate_size", UsualFfnWidth(c.width));
  c.context = 4096;
  for (const char* key : {"max_context_length", "context_length", "ctx_len"})
    c.context = PositiveOr(config, key, c.context);
  c.eps = NumberOr(config, "layer_norm_epsilon", 1e-5);
  c.head_size_divisor = NumberOr(config, "head_size_divisor", 8);
  if (c.finch()) {
    c.mix_rank = PositiveOr(config, "time_mix_extra_dim", UsualMixRank(c.width));
    c.decay_rank = PositiveOr(config, "time_decay_extra_dim", UsualDecayRank(c.width));
  }
  if (BoolOr(config, "tie_word_embeddings", false))
    Refuse("tie_word_embeddings", config["tie_word_embeddings"], "supported: false");
  c.time_state = BoolOr(config, "time_state", false);
  c.stop_ids = StopIds(config);
  return c;
}

std::string CompleteConfig(const std::string& config_json, const std::vector<native::FileTensor>& tensors) {
  const json given = Parse(config_json);
  json config = given;
  const Version version = VersionOf(config);
  const auto set = [&](const char* key, int64_t value) {
    if (Has(config, key) && config[key] != value)
      Refuse(key, config[key], "the tensors' shapes say " + std::to_string(value));
    config[key] = value;
  };
  if (const auto key = ShapeOf(tensors, "feed_forward.key.weight"); key.size() == 2)
    set("intermediate_size", key[0]);
  if (const auto w2 = ShapeOf(tensors, "attention.time_maa_w2"); version == Version::kFinch && w2.size() == 3)
    set("time_mix_extra_dim", w2[1]);
  if (const auto w2 = ShapeOf(tensors, "attention.time_decay_w2"); version == Version::kFinch && w2.size() == 2)
    set("time_decay_extra_dim", w2[0]);
  if (const auto u = ShapeOf(tensors, "attention.time_faaaa"); u.size() == 2) set("head_size", u[1]);
  if (!ShapeOf(tensors, "attention.time_state").empty()) config["time_state"] = true;
  return config == given ? config_json : config.dump(2) + "\n";
}

std::string WriteConfig(const Config& c) {
  json config;
  const bool finch = c.finch();
  config["architectures"] = {finch ? "Rwkv6ForCausalLM" : "Rwkv5ForCausalLM"};
  config["model_type"] = c.family();
  config["vocab_size"] = c.vocabulary;
  config["hidden_size"] = c.width;
  config["attention_hidden_size"] = c.width;
  config["num_hidden_layers"] = c.layers;
  config["num_attention_heads"] = c.heads();
  config["head_size"] = c.head_size;
  config["head_size_divisor"] = static_cast<int64_t>(c.head_size_divisor);
  config["intermediate_size"] = c.ffn_width;
  config[finch ? "max_context_length" : "context_length"] = c.context;
  config["layer_norm_epsilon"] = c.eps;
  config["rescale_every"] = 6;
  config["tie_word_embeddings"] = false;
  config["use_cache"] = true;
  config["bos_token_id"] = c.stop_ids.empty() ? json(nullptr) : json(c.stop_ids[0]);
  config["eos_token_id"] = c.stop_ids.empty() ? json(nullptr) : json(c.stop_ids[0]);
  if (finch) {
    config["time_mix_extra_dim"] = c.mix_rank;
    config["time_decay_extra_dim"] = c.decay_rank;
  }
  if (c.time_state) config["time_state"] = true;
  return config.dump(2) + "\n";
}

std::string ScratchConfigJson(const native::ScratchConfig& scratch) {
  const auto given = [](int64_t value, int64_t otherwise) { return value > 0 ? value : otherwise; };
  if (scratch.family != "rwkv5" && scratch.family != "rwkv6")
    throw std::invalid_argument("model.family = " + scratch.family + ": supported: rwkv5, rwkv6");
  if (scratch.vocabulary <= 0) throw std::invalid_argument("model.vocabulary is missing");
  Config c;
  c.version = scratch.family == "rwkv6" ? Version::kFinch : Version::kEagle;
  c.layers = given(scratch.layers, 4);
  c.width = given(scratch.width, 256);
  const int64_t heads = given(scratch.heads, std::max<int64_t>(1, c.width / 64));
  if (c.width % heads != 0 || c.width / heads % 16 != 0 || c.width / heads > 128)
    throw std::invalid_argument("model.width = " + std::to_string(c.width) + ", model.heads = " +
                                std::to_string(heads) +
                                ": width / heads, the head size, must be a multiple of 16 up to 128");
  if (scratch.kv_heads > 0 && scratch.kv_heads != heads)
    throw std::invalid_argument("model.kv_heads = " + std::to_string(scratch.kv_heads) + ": " + scratch.family +
                                " has no keys that heads share; leave it out");
  c.head_size = c.width / heads;
  c.ffn_width = given(scratch.ffn_width, UsualFfnWidth(c.width));
  c.vocabulary = scratch.vocabulary;
  c.context = given(scratch.context, 4096);
  c.mix_rank = UsualMixRank(c.width);
  c.decay_rank = UsualDecayRank(c.width);
  if (scratch.eos_id >= 0) c.stop_ids = {scratch.eos_id};
  json config = json::parse(WriteConfig(c));
  if (scratch.bos_id >= 0) config["bos_token_id"] = scratch.bos_id;
  if (scratch.pad_id >= 0) config["pad_token_id"] = scratch.pad_id;
  const std::string text = config.dump(2) + "\n";
  ParseConfig(text);
  return text;
}

}  // namespace volery::rwkv
