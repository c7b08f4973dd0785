#pragma once
// The tensors of a model: names as in the Hugging Face files of the RWKV organisation, names of the original
// .pth files, shapes, learning-rate and weight-decay groups.

#include <string>
#include <vector>

#include "config.h"
#include "volery/native/model.h"

namespace volery::rwkv {

// A tensor within a layer, or outside (layer < 0).
struct Entry {
  std::string name;      // without prefix: "attention.key.weight"
  std::string original;  // "att.key.weight"
  std::vector<int64_t> shape;
  bool weight_decay = false;
  double lr_scale = 1;
  int64_t layer = -1;
};

std::vector<Entry> ListEntries(const Config& config);
std::string FullName(const Entry& entry);      // "rwkv.blocks.3.attention.key.weight"
std::string OriginalName(const Entry& entry);  // "blocks.3.att.key.weight"
std::string LayerName(int64_t layer, const std::string& rest);

inline constexpr char kEmbedding[] = "rwkv.embeddings.weight";
inline constexpr char kHead[] = "head.weight";
inline constexpr char kFinalNorm[] = "rwkv.ln_out";

}  // namespace volery::rwkv
