#pragma once
// A config.json of the families qwen2, qwen3 and llama, in the old and the new spelling, checked: what can't
// be honoured is refused with the key, its value and what is supported.

#include <cstdint>
#include <string>
#include <vector>

#include "volery/native/config_json.h"
#include "volery/native/model.h"
#include "volery/nn/rotary.h"

namespace volery::qwen {

struct Config {
  std::string family;  // "qwen2" | "qwen3" | "llama"
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn_width = 0, vocabulary = 0,
          context = 0;
  double eps = 1e-6;
  double init_std = 0.02;
  double attention_dropout = 0;
  bool tied = false;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool head_norm = false;  // RMS norm of every query and key head
  nn::RotarySpec rotary;
  std::vector<int64_t> stop_ids;
};

// Throws std::invalid_argument.
Config ParseConfig(const std::string& config_json);
// A config.json that transformers loads too. Throws std::invalid_argument for a shape that doesn't work out.
std::string ScratchConfigJson(const native::ScratchConfig& config);

// The keys that concern rotary positions.
nn::RotarySpec ParseRotary(const nlohmann::json& config, int64_t head_dim, int64_t context);

}  // namespace volery::qwen
