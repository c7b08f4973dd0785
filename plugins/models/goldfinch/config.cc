#include "config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "volery/native/config_json.h"
#include "volery/nn/wkv.h"

namespace volery::goldfinch {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using namespace native::config;

struct TimeMixName {
  TimeMix kind;
  const char* name;
};
constexpr TimeMixName kTimeMixes[] = {{TimeMix::kFinch, "x060"},
                                      {TimeMix::kFinchC2, "x060c2"},
                                      {TimeMix::kGold, "gold"},
                                      {TimeMix::kGptAlpha, "gptalpha"},
                                      {TimeMix::kLlama, "llama"}};

struct FamilyRow {
  const char* name;
  TimeMix lower, upper;
  ChannelMix channel;
  bool rope;
};
constexpr FamilyRow kFamilies[] = {
    {"goldfinch", TimeMix::kFinchC2, TimeMix::kGold, ChannelMix::kRwkv, false},
    {"finch", TimeMix::kFinch, TimeMix::kFinch, ChannelMix::kRwkv, false},
    {"finch-c2", TimeMix::kFinchC2, TimeMix::kFinchC2, ChannelMix::kRwkv, false},
    {"finch-c2-gptalpha", TimeMix::kFinchC2, TimeMix::kGptAlpha, ChannelMix::kRwkv, false},
    {"gptalpha", TimeMix::kGptAlpha, TimeMix::kGptAlpha, ChannelMix::kRwkv, true},
    {"goldfinch-llama", TimeMix::kLlama, TimeMix::kLlama, ChannelMix::kLlama, true}};

constexpr int64_t kMaxHead = 512;

TimeMix ParseTimeMix(const json& config, const std::string& key) {
  if (!Has(config, key))
    throw std::invalid_argument("config.json: " + key + " is missing; it names the time mixer");
  const bool upper = key == "tmix2";
  for (const TimeMixName& n : kTimeMixes)
    if (config[key] == n.name && (upper || n.kind != TimeMix::kGold)) return n.kind;
  Refuse(
      key, config[key],
      std::string("supported: x060, x060c2, gptalpha, llama") + (upper ? ", gold" : " (gold as tmix2 only)"));
}

void ParseMixers(const json& config, Config& c) {
  c.lower = ParseTimeMix(config, "tmix");
  c.upper = ParseTimeMix(config, "tmix2");
  for (const char* key : {"cmix", "cmix2"}) {
    if (!Has(config, key))
      throw std::invalid_argument(std::string("config.json: ") + key +
                                  " is missing; it names the channel mixer");
    if (config[key] != "x060" && config[key] != "llama") Refuse(key, config[key], "supported: x060, llama");
  }
  if (config["cmix"] != config["cmix2"])
    Refuse("cmix2", config["cmix2"], "it must be cmix = " + config["cmix"].dump());
  c.channel = config["cmix"] == "x060" ? ChannelMix::kRwkv : ChannelMix::kLlama;
}

void ParseShares(const json& config, Config& c) {
  const double ratio = NumberOr(config, "inv_other_layer_ratio", 3);
  if (!(ratio >= 1))
    Refuse("inv_other_layer_ratio", config["inv_other_layer_ratio"], "a number of at least 1 is needed");
  c.first_upper = c.lower == c.upper ? c.layers : FirstUpper(c.layers, ratio);
  if (!c.gold()) return;
  if (c.first_upper < 1 || c.first_upper >= c.layers)
    Refuse("inv_other_layer_ratio", ratio,
           "GOLD layers need a layer below them, and there must be one: of num_hidden_layers = " +
               std::to_string(c.layers) + ", " + std::to_string(c.first_upper) + " would lie below");
  const double compression = NumberOr(config, "kv_cache_compression_ratio", 16);
  // The small sum keeps whole quotients whole.
  c.compressed =
      compression > 0 ? static_cast<int64_t>(static_cast<double>(c.width) / compression + 1e-6) : 0;
  if (c.compressed < 1 || c.compressed > c.width)
    Refuse("kv_cache_compression_ratio", config["kv_cache_compression_ratio"],
           "it must lie between 1 and hidden_size = " + std::to_string(c.width));
}

void CheckHeads(const Config& c) {
  if (c.width % c.head_size != 0)
    Refuse("head_size", c.head_size, "it must divide hidden_size = " + std::to_string(c.width));
  const bool recurrent = !Attends(c.lower) || !Attends(c.upper);
  if (recurrent && (c.head_size % 16 != 0 || c.head_size > nn::kMaxWkvHeadSize))
    Refuse("head_size", c.head_size, "Finch layers need a multiple of 16, at most 128");
  if (c.head_size % 2 != 0 || c.head_size > kMaxHead)
    Refuse("head_size", c.head_size, "supported: even numbers up to 512");
}

void RefuseForeignKeys(const json& config) {
  for (const char* key : {"quantization_config", "auto_map", "rope_scaling", "brope", "alibi"})
    if (Has(config, key)) Refuse(key, config[key], "supported: none");
  for (const char* key : {"tie_word_embeddings", "parallel"})
    if (BoolOr(config, key, false)) Refuse(key, config[key], "supported: false");
  if (NumberOr(config, "dropout", 0) > 0) Refuse("dropout", config["dropout"], "supported: 0");
}

std::string FamilyName(const Config& c) {
  for (const FamilyRow& row : kFamilies)
    if (row.lower == c.lower && row.upper == c.upper && row.channel == c.channel) return row.name;
  return "goldfinch";
}

std::string Joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

const char* NameOf(TimeMix kind) {
  return std::find_if(std::begin(kTimeMixes), std::end(kTimeMixes),
                      [&](const TimeMixName& n) { return n.kind == kind; })
      ->name;
}

const char* NameOf(ChannelMix kind) {
  return kind == ChannelMix::kRwkv ? "x060" : "llama";
}

int64_t FirstUpper(int64_t layers, double ratio) {
  return static_cast<int64_t>(static_cast<double>(layers) * (ratio - 1) / ratio);
}
int64_t DefaultFfnWidth(int64_t width, ChannelMix channel) {
  return (channel == ChannelMix::kRwkv ? width * 7 / 2 : width * 8 / 3) / 32 * 32;
}
int64_t DefaultGoldRank(int64_t width) {
  return std::max<int64_t>(width / 16, 64);
}

Config ParseConfig(const std::string& config_json) {
  const json config = Parse(config_json);
  if (!Has(config, "model_type") || config["model_type"] != "goldfinch")
    Refuse("model_type", Has(config, "model_type") ? config["model_type"] : json(nullptr),
           "supported: goldfinch");
  RefuseForeignKeys(config);
  Config c;
  c.layers = Positive(config, "num_hidden_layers");
  c.width = Positive(config, "hidden_size");
  c.vocabulary = Positive(config, "vocab_size");
  c.head_size = PositiveOr(config, "head_size", 64);
  c.context = PositiveOr(config, "max_position_embeddings", 1024);
  c.eps = NumberOr(config, "layer_norm_epsilon", 1e-5);
  const double divisor = NumberOr(config, "head_size_divisor", 8);
  c.head_norm_eps = c.eps * divisor * divisor;
  ParseMixers(config, c);
  ParseShares(config, c);
  CheckHeads(c);
  c.ffn_width = PositiveOr(config, "intermediate_size", DefaultFfnWidth(c.width, c.channel));
  c.scale_key = BoolOr(config, "use_one_minus_w", true);
  c.second_value = BoolOr(config, "use_v2", true);
  if (Has(config, "rope_theta")) {
    c.rope_theta = NumberOr(config, "rope_theta", 0);
    if (!(*c.rope_theta > 0))
      Refuse("rope_theta", config["rope_theta"], "a positive number, or null for none");
  }
  c.mix_rank = PositiveOr(config, "time_mix_extra_dim", 32);
  c.decay_rank = PositiveOr(config, "time_decay_extra_dim", 64);
  c.gold_rank = PositiveOr(config, "key_value_extra_dim", DefaultGoldRank(c.width));
  c.stop_ids = StopIds(config);
  c.family = FamilyName(c);
  return c;
}

std::vector<std::string> Families() {
  std::vector<std::string> out;
  for (const FamilyRow& row : kFamilies) out.push_back(row.name);
  return out;
}

std::string ConfigJson(const Config& c, double ratio, int64_t bos_id, int64_t eos_id, int64_t pad_id) {
  const auto id = [](int64_t value) { return value >= 0 ? ordered_json(value) : ordered_json(nullptr); };
  ordered_json out;
  out["model_type"] = "goldfinch";
  out["architectures"] = {"GoldFinchForCausalLM"};
  out["hidden_size"] = c.width;
  out["num_hidden_layers"] = c.layers;
  out["vocab_size"] = c.vocabulary;
  out["head_size"] = c.head_size;
  out["intermediate_size"] = c.ffn_width;
  out["max_position_embeddings"] = c.context;
  out["layer_norm_epsilon"] = c.eps;
  out["bos_token_id"] = id(bos_id);
  out["eos_token_id"] = id(eos_id);
  out["pad_token_id"] = id(pad_id);
  out["tie_word_embeddings"] = false;
  out["tmix"] = NameOf(c.lower);
  out["tmix2"] = NameOf(c.upper);
  out["cmix"] = NameOf(c.channel);
  out["cmix2"] = NameOf(c.channel);
  out["inv_other_layer_ratio"] = ratio;
  if (c.gold()) {
    const double compression = static_cast<double>(c.width) / static_cast<double>(c.compressed);
    out["kv_cache_compression_ratio"] = compression;
  }
  out["use_one_minus_w"] = c.scale_key;
  out["use_v2"] = c.second_value;
  out["rope_theta"] = c.rope_theta ? ordered_json(*c.rope_theta) : ordered_json(nullptr);
  if (c.mix_rank != 32) out["time_mix_extra_dim"] = c.mix_rank;
  if (c.decay_rank != 64) out["time_decay_extra_dim"] = c.decay_rank;
  if (c.gold_rank != DefaultGoldRank(c.width)) out["key_value_extra_dim"] = c.gold_rank;
  return out.dump(2) + "\n";
}

std::string ScratchConfigJson(const native::ScratchConfig& scratch) {
  const auto row = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                [&](const FamilyRow& f) { return scratch.family == f.name; });
  if (row == std::end(kFamilies))
    throw std::invalid_argument("model.family = " + scratch.family + ": supported: " + Joined(Families()));
  const auto given = [](int64_t value, int64_t otherwise) { return value > 0 ? value : otherwise; };
  Config c;
  c.layers = given(scratch.layers, 6);
  c.width = given(scratch.width, 256);
  const int64_t heads = given(scratch.heads, std::max<int64_t>(1, c.width / 64));
  if (c.width % heads != 0)
    throw std::invalid_argument("model.width = " + std::to_string(c.width) + ", model.heads = " +
                                std::to_string(heads) + ": width / heads must be a whole number");
  if (scratch.kv_heads > 0 && scratch.kv_heads != heads)
    throw std::invalid_argument("model.kv_heads = " + std::to_string(scratch.kv_heads) + ": " +
                                scratch.family + " has as many key heads as heads; leave it out");
  if (scratch.vocabulary <= 0) throw std::invalid_argument("model.vocabulary is missing");
  c.head_size = c.width / heads;
  c.lower = row->lower;
  c.upper = row->upper;
  c.channel = row->channel;
  c.ffn_width = given(scratch.ffn_width, std::max<int64_t>(32, DefaultFfnWidth(c.width, c.channel)));
  c.vocabulary = scratch.vocabulary;
  c.context = given(scratch.context, 2048);
  c.gold_rank = DefaultGoldRank(c.width);
  c.compressed = std::max<int64_t>(1, c.width / 16);
  if (row->rope) c.rope_theta = 10000;
  const std::string text = ConfigJson(c, 3, scratch.bos_id, scratch.eos_id, scratch.pad_id);
  ParseConfig(text);
  return text;
}

}  // namespace volery::goldfinch
