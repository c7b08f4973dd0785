#include "names.h"

namespace volery::rwkv {
namespace {

class Lister {
 public:
  explicit Lister(const Config& config) : c_(config), d_(config.width), heads_(config.heads()) {}

  std::vector<Entry> All() {
    Add("embeddings.weight", "emb.weight", {c_.vocabulary, d_}, true);
    for (layer_ = 0; layer_ < c_.layers; layer_++) Layer();
    layer_ = -1;
    Norm("ln_out", "ln_out");
    Add("head.weight", "head.weight", {c_.vocabulary, d_}, true);
    return std::move(out_);
  }

 private:
  void Add(const std::string& name, const std::string& original, std::vector<int64_t> shape,
           bool weight_decay = false, double lr_scale = 1) {
    out_.push_back({name, original, std::move(shape), weight_decay, lr_scale, layer_});
  }
  void Norm(const std::string& name, const std::string& original) {
    Add(name + ".weight", original + ".weight", {d_});
    Add(name + ".bias", original + ".bias", {d_});
  }
  void Attention(const std::string& name, std::vector<int64_t> shape, double lr_scale = 1) {
    Add("attention." + name, "att." + name, std::move(shape), false, lr_scale);
  }
  void Product(const std::string& part, const std::string& original, const std::string& name, int64_t out,
               int64_t in) {
    Add(part + "." + name + ".weight", original + "." + name + ".weight", {out, in}, true);
  }

  void Layer() {
    if (layer_ == 0) Norm("pre_ln", "ln0");
    Norm("ln1", "ln1");
    Norm("ln2", "ln2");
    if (c_.finch())
      FinchMixes();
    else
      EagleMixes();
    Attention("time_faaaa", {heads_, c_.head_size});
    if (c_.time_state) Attention("time_state", {heads_, c_.head_size, c_.head_size});
    for (const char* name : {"receptance", "key", "value", "gate", "output"})
      Product("attention", "att", name, d_, d_);
    Norm("attention.ln_x", "att.ln_x");
    if (c_.finch()) {
      for (const char* name : {"time_maa_k", "time_maa_r"})
        Add(std::string("feed_forward.") + name, std::string("ffn.") + name, {1, 1, d_});
    } else {
      Add("feed_forward.time_mix_key", "ffn.time_mix_k", {1, 1, d_});
      Add("feed_forward.time_mix_receptance", "ffn.time_mix_r", {1, 1, d_});
    }
    Product("feed_forward", "ffn", "key", c_.ffn_width, d_);
    Product("feed_forward", "ffn", "receptance", d_, d_);
    Product("feed_forward", "ffn", "value", d_, c_.ffn_width);
  }

  void EagleMixes() {
    const std::pair<const char*, const char*> streams[] = {
        {"key", "k"}, {"value", "v"}, {"receptance", "r"}, {"gate", "g"}};
    for (const auto& [name, original] : streams)
      Add(std::string("attention.time_mix_") + name, std::string("att.time_mix_") + original, {1, 1, d_});
    Attention("time_decay", {heads_, c_.head_size}, 2);
  }

  void FinchMixes() {
    for (const char* stream : {"x", "w", "k", "v", "r", "g"})
      Attention(std::string("time_maa_") + stream, {1, 1, d_});
    Attention("time_maa_w1", {d_, 5 * c_.mix_rank});
    Attention("time_maa_w2", {5, c_.mix_rank, d_});
    Attention("time_decay", {1, 1, d_}, 2);
    Attention("time_decay_w1", {d_, c_.decay_rank});
    Attention("time_decay_w2", {c_.decay_rank, d_});
  }

  const Config& c_;
  const int64_t d_, heads_;
  int64_t layer_ = -1;
  std::vector<Entry> out_;
};

}  // namespace

std::vector<Entry> ListEntries(const Config& config) {
  return Lister(config).All();
}

std::string LayerName(int64_t layer, const std::string& rest) {
  return "rwkv.blocks." + std::to_string(layer) + "." + rest;
}
std::string FullName(const Entry& entry) {
  if (entry.layer >= 0) return LayerName(entry.layer, entry.name);
  return entry.name == kHead ? entry.name : "rwkv." + entry.name;
}
std::string OriginalName(const Entry& entry) {
  return entry.layer < 0 ? entry.original : "blocks." + std::to_string(entry.layer) + "." + entry.original;
}

}  // namespace volery::rwkv
