#include <nlohmann/json.hpp>
#include <stdexcept>

#include "config.h"

namespace volery::qwen {
namespace {

using nlohmann::json;
using namespace native::config;

constexpr char kKinds[] = "supported: default, linear, llama3, yarn";

// {rope_type, rope_theta, ...} from either spelling; an empty object where the config has neither.
json Spelled(const json& config, const char* key) {
  if (!config.contains(key) || config[key].is_null()) return json::object();
  json out = config[key];
  if (!out.is_object()) Refuse(key, out, "an object is needed");
  if (out.contains("full_attention")) out = out["full_attention"];
  if (!out.contains("rope_type") && out.contains("type")) out["rope_type"] = out["type"];
  out.erase("type");
  return out;
}

json Parameters(const json& config) {
  json now = Spelled(config, "rope_parameters"), old = Spelled(config, "rope_scaling");
  if (config.contains("rope_theta") && !config["rope_theta"].is_null())
    old["rope_theta"] = config["rope_theta"];
  for (const auto& [key, value] : old.items()) {
    if (!now.contains(key))
      now[key] = value;
    else if (now[key] != value)
      throw std::invalid_argument("config.json: rope_parameters." + key + " = " + now[key].dump() +
                                  ", but rope_theta or rope_scaling says " + value.dump() +
                                  "; keep one of the two spellings");
  }
  // The key's older place; transformers lets it win.
  if (config.contains("original_max_position_embeddings") &&
      config["original_max_position_embeddings"].is_number())
    now["original_max_position_embeddings"] = config["original_max_position_embeddings"];
  return now;
}

nn::RotarySpec::Kind Kind(const json& parameters) {
  if (!parameters.contains("rope_type")) return nn::RotarySpec::Kind::kDefault;
  const json& type = parameters["rope_type"];
  if (type == "default") return nn::RotarySpec::Kind::kDefault;
  if (type == "linear") return nn::RotarySpec::Kind::kLinear;
  if (type == "llama3") return nn::RotarySpec::Kind::kLlama3;
  if (type == "yarn") return nn::RotarySpec::Kind::kYarn;
  Refuse("rope_type", type, kKinds);
}

double Needed(const json& parameters, const char* key) {
  const double value = NumberOr(parameters, key, 0);
  if (value <= 0)
    throw std::invalid_argument(std::string("config.json: rope parameter ") + key +
                                " is missing or not positive; rope_type " + parameters["rope_type"].dump() +
                                " needs it");
  return value;
}

void ParseYarn(const json& p, int64_t context, nn::RotarySpec& spec) {
  spec.original_context = NumberOr(p, "original_max_position_embeddings", static_cast<double>(context));
  spec.beta_fast = NumberOr(p, "beta_fast", 32);
  spec.beta_slow = NumberOr(p, "beta_slow", 1);
  spec.attention_factor = NumberOr(p, "attention_factor", 0);
  spec.mscale = NumberOr(p, "mscale", 0);
  spec.mscale_all_dim = NumberOr(p, "mscale_all_dim", 0);
  if (p.contains("truncate") && p["truncate"].is_boolean()) spec.truncate = p["truncate"].get<bool>();
}

void ParseLlama3(const json& p, int64_t context, nn::RotarySpec& spec) {
  spec.low_freq_factor = Needed(p, "low_freq_factor");
  spec.high_freq_factor = Needed(p, "high_freq_factor");
  spec.original_context = NumberOr(p, "original_max_position_embeddings", static_cast<double>(context));
  if (spec.high_freq_factor <= spec.low_freq_factor)
    Refuse("high_freq_factor", p["high_freq_factor"], "it must be above low_freq_factor");
}

}  // namespace

nn::RotarySpec ParseRotary(const json& config, int64_t head_dim, int64_t context) {
  const json p = Parameters(config);
  for (const json* object : {&config, &p})
    if (NumberOr(*object, "partial_rotary_factor", 1) != 1)
      Refuse("partial_rotary_factor", (*object)["partial_rotary_factor"], "supported: 1");
  if (p.contains("mrope_section")) Refuse("mrope_section", p["mrope_section"], kKinds);
  nn::RotarySpec spec;
  spec.head_dim = head_dim;
  spec.theta = NumberOr(p, "rope_theta", 10000);
  spec.kind = Kind(p);
  if (spec.theta <= 1) Refuse("rope_theta", p["rope_theta"], "a number above 1 is needed");
  if (spec.kind != nn::RotarySpec::Kind::kDefault) spec.factor = Needed(p, "factor");
  if (spec.kind == nn::RotarySpec::Kind::kLlama3) ParseLlama3(p, context, spec);
  if (spec.kind == nn::RotarySpec::Kind::kYarn) ParseYarn(p, context, spec);
  return spec;
}

}  // namespace volery::qwen
