#pragma once
// A config.json of GoldFinch or one of its siblings, checked: what can't be honoured is refused with the key,
// its value and what is supported. model_type is "goldfinch" for all; `tmix` (time mixer of the layers below)
// and `tmix2` (of those above) say which model it is.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::goldfinch {

enum class TimeMix { kFinch, kFinchC2, kGold, kGptAlpha, kLlama };  // x060, x060c2, gold, gptalpha, llama
enum class ChannelMix { kRwkv, kLlama };                            // x060, llama

struct Config {
  std::string family;  // as a recipe names it: "goldfinch", "finch", "finch-c2" ...
  int64_t layers = 0, width = 0, head_size = 0, ffn_width = 0, vocabulary = 0, context = 0;
  TimeMix lower = TimeMix::kFinchC2, upper = TimeMix::kGold;
  ChannelMix channel = ChannelMix::kRwkv;
  int64_t first_upper = 0;   // layers from here on have the upper kind
  int64_t compressed = 0;    // width of a compressed key
  bool scale_key = true;     // Finch-C2: k (1 - w)
  bool second_value = true;  // Finch-C2: v2 in place of the bonus
  std::optional<double> rope_theta;
  double eps = 1e-5, head_norm_eps = 64e-5;
  // Of the low-rank matrices: mixes; decay and second value; GOLD's keys and values.
  int64_t mix_rank = 32, decay_rank = 64, gold_rank = 64;
  std::vector<int64_t> stop_ids;

  int64_t heads() const { return width / head_size; }
  TimeMix Kind(int64_t layer) const { return layer < first_upper ? lower : upper; }
  bool gold() const { return upper == TimeMix::kGold; }
  // GOLD layers, and what their depth makes exact: the last `tail` tokens of a prompt.
  int64_t gold_layers() const { return gold() ? layers - first_upper : 0; }
  int64_t tail() const { return 2 * gold_layers(); }
};

inline bool Attends(TimeMix kind) {
  return kind != TimeMix::kFinch && kind != TimeMix::kFinchC2;
}

// The reference's rule, in doubles: int(layers * (ratio - 1) / ratio).
int64_t FirstUpper(int64_t layers, double ratio);
// int(3.5 width) in steps of 32 (RWKV), 8 / 3 width in steps of 32 (Llama-like).
int64_t DefaultFfnWidth(int64_t width, ChannelMix channel);
int64_t DefaultGoldRank(int64_t width);

// Throws std::invalid_argument.
Config ParseConfig(const std::string& config_json);
// What a recipe may call a model from scratch, in the order of the constructor's table.
std::vector<std::string> Families();
// Throws std::invalid_argument for a family or a shape that doesn't work out.
std::string ScratchConfigJson(const native::ScratchConfig& config);
// As config.json has it.
const char* NameOf(TimeMix kind);
const char* NameOf(ChannelMix kind);
// The text of a config.json; `ratio`: layers / layers of the upper kind.
std::string ConfigJson(const Config& config, double ratio, int64_t bos_id, int64_t eos_id, int64_t pad_id);

}  // namespace volery::goldfinch
