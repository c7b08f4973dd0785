#pragma once
// Reading a config.json, for model plugins: values by key, checked. All throw std::invalid_argument that names
// the key, its value and what is supported. Needs nlohmann-json.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace volery::native::config {

using Json = nlohmann::json;

[[noreturn]] inline void Refuse(const std::string& key, const Json& value, const std::string& supported) {
  throw std::invalid_argument("config.json: " + key + " = " + value.dump() + " is not supported; " + supported);
}

inline Json Parse(const std::string& text) {
  Json config;
  try {
    config = Json::parse(text);
  } catch (const Json::exception& e) {
    throw std::invalid_argument(std::string("config.json is no JSON: ") + e.what());
  }
  if (!config.is_object()) throw std::invalid_argument("config.json: a JSON object is needed");
  return config;
}

// There, and not null.
inline bool Has(const Json& config, const std::string& key) {
  return config.contains(key) && !config[key].is_null();
}

inline int64_t Positive(const Json& config, const std::string& key) {
  if (!Has(config, key))
    throw std::invalid_argument("config.json: " + key + " is missing; a positive whole number is needed");
  const Json& value = config[key];
  if (!value.is_number_integer() || value.get<int64_t>() <= 0)
    Refuse(key, value, "a positive whole number is needed");
  return value.get<int64_t>();
}

// The value, or `missing` where the key isn't there or null.
inline int64_t PositiveOr(const Json& config, const std::string& key, int64_t missing) {
  return Has(config, key) ? Positive(config, key) : missing;
}
inline double NumberOr(const Json& config, const std::string& key, double missing) {
  if (!Has(config, key)) return missing;
  if (!config[key].is_number()) Refuse(key, config[key], "a number is needed");
  return config[key].get<double>();
}
inline bool BoolOr(const Json& config, const std::string& key, bool missing) {
  if (!Has(config, key)) return missing;
  if (!config[key].is_boolean()) Refuse(key, config[key], "true or false is needed");
  return config[key].get<bool>();
}

// eos_token_id: none, a number, or a list of them.
inline std::vector<int64_t> StopIds(const Json& config) {
  if (!Has(config, "eos_token_id")) return {};
  const Json& value = config["eos_token_id"];
  std::vector<int64_t> out;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer()) Refuse("eos_token_id", value, "a token id or a list of token ids is needed");
    out.push_back(id.get<int64_t>());
  }
  return out;
}

}  // namespace volery::native::config
