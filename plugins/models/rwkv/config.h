#pragma once
// A config.json of the families rwkv5 and rwkv6 as the RWKV organisation publishes them, checked. What those
// files leave to the tensors' shapes (the ranks of the low-rank matrices) has keys of its own here.

#include <cstdint>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::rwkv {

enum class Version { kEagle, kFinch };  // RWKV-5.2, RWKV-6

struct Config {
  Version version = Version::kFinch;
  int64_t layers = 0, width = 0, head_size = 64, ffn_width = 0, vocabulary = 0, context = 0;
  int64_t mix_rank = 0, decay_rank = 0;  // RWKV-6
  double eps = 1e-5;                     // of all norms but ln_x
  double head_size_divisor = 8;          // eps of ln_x is eps times its square
  bool time_state = false;               // a learned initial state a layer (state tuning)
  std::vector<int64_t> stop_ids;

  bool finch() const { return version == Version::kFinch; }
  int64_t heads() const { return width / head_size; }
  std::string family() const { return finch() ? "rwkv6" : "rwkv5"; }
};

// Throws std::invalid_argument, naming key, value and what is supported.
Config ParseConfig(const std::string& config_json);
// With the keys that the tensors decide: intermediate_size, the ranks, time_state. Keys that contradict the
// shapes are refused.
std::string CompleteConfig(const std::string& config_json, const std::vector<native::FileTensor>& tensors);
std::string ScratchConfigJson(const native::ScratchConfig& config);
// A config.json of these sizes, as the RWKV organisation writes it.
std::string WriteConfig(const Config& config);

// The usual width of the channel mix.
inline int64_t UsualFfnWidth(int64_t width) {
  return width * 7 / 2 / 32 * 32;
}

}  // namespace volery::rwkv
