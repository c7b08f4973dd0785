#include "tensors.h"

#include <ATen/ATen.h>

#include <cmath>
#include <set>
#include <stdexcept>

namespace volery::goldfinch {
namespace {

class List {
 public:
  explicit List(const Config& config) : c_(config) {}

  std::vector<Parameter> Make() {
    Matrix("emb.weight", c_.vocabulary, c_.width, 1e-4).initial = Initial::kUniform;
    for (layer_ = 0; layer_ < c_.layers; layer_++) Block();
    Norm("ln_out");
    const double head =
        c_.vocabulary > c_.width
            ? 0.5 * std::sqrt(static_cast<double>(c_.vocabulary) / static_cast<double>(c_.width))
            : 0.5;
    Matrix("head.weight", c_.vocabulary, c_.width, head);
    if (c_.gold()) {
      Matrix("w_kv_cache_a.weight", c_.compressed, c_.width);
      Matrix("w_kv_cache_b.weight", c_.width, c_.width + c_.compressed);
    }
    return std::move(out_);
  }

 private:
  Parameter& Add(const std::string& name, std::vector<int64_t> shape, bool decay, Initial initial) {
    out_.push_back({{name, std::move(shape), decay, 1}, initial});
    return out_.back();
  }
  Parameter& Matrix(const std::string& name, int64_t out, int64_t in, double gain = 1) {
    Parameter& p = Add(name, {out, in}, true, gain == 0 ? Initial::kZeros : Initial::kOrthogonal);
    p.value = gain;
    return p;
  }
  void Norm(const std::string& name) {
    Add(name + ".weight", {c_.width}, false, Initial::kOnes);
    Add(name + ".bias", {c_.width}, false, Initial::kZeros);
  }
  std::string Att(const std::string& rest) const { return BlockName(layer_, "att." + rest); }
  std::string Ffn(const std::string& rest) const { return BlockName(layer_, "ffn." + rest); }
  // 1 at the first layer, towards 0 at the last; 0 at the first, 1 at the last.
  double Falling() const { return 1 - static_cast<double>(layer_) / static_cast<double>(c_.layers); }
  double Rising() const {
    return c_.layers > 1 ? static_cast<double>(layer_) / static_cast<double>(c_.layers - 1) : 0;
  }

  void Mix(const std::string& name, double share = 1, double lift = 0) {
    Parameter& p = Add(name, {1, 1, c_.width}, false, Initial::kMix);
    p.power = share * Falling();
    p.lift = lift * Rising();
  }
  void LowRank(const std::string& name, int64_t rank) {
    Add(Att(name + "_w1"), {c_.width, rank}, false, Initial::kZeros);
    Add(Att(name + "_w2"), {rank, c_.width}, false, Initial::kUniform).value = 0.01;
  }
  void ManyLowRank(const std::string& name, int64_t parts) {
    Add(Att(name + "_w1"), {c_.width, parts * c_.mix_rank}, false, Initial::kZeros);
    Add(Att(name + "_w2"), {parts, c_.mix_rank, c_.width}, false, Initial::kUniform).value = 0.01;
  }
  void OutputNorm() {
    Norm(Att("ln_x"));
    Parameter& weight = out_[out_.size() - 2];
    weight.initial = Initial::kConstant;
    weight.value = std::pow(static_cast<double>(1 + layer_) / static_cast<double>(c_.layers), 0.7);
  }

  void Block() {
    Norm(BlockName(layer_, "ln1"));
    Norm(BlockName(layer_, "ln2"));
    if (layer_ == 0) Norm(BlockName(0, "ln0"));
    switch (c_.Kind(layer_)) {
      case TimeMix::kFinch:
        Finch(false);
        break;
      case TimeMix::kFinchC2:
        Finch(true);
        break;
      case TimeMix::kGold:
        Gold();
        break;
      case TimeMix::kGptAlpha:
        GptAlpha();
        break;
      case TimeMix::kLlama:
        for (const char* name : {"wq", "wk", "wv", "wo"})
          Matrix(Att(std::string(name) + ".weight"), c_.width, c_.width);
    }
    Channel();
  }

  void Finch(bool c2) {
    Mix(Att("time_maa_x"));
    Mix(Att("time_maa_r"), 0.5);
    Mix(Att("time_maa_k"));
    Mix(Att("time_maa_v"), 1, 0.3);
    Mix(Att("time_maa_w"));
    if (c2)
      Mix(Att("time_maa_v2"), 1, 0.3);
    else
      Mix(Att("time_maa_g"), 0.5);
    ManyLowRank("time_maa", 5);
    Parameter& decay = Add(Att("time_decay"), {1, 1, c_.width}, false, Initial::kDecay);
    decay.spec.lr_scale = 2;
    decay.power = 0.7 + 1.3 * Rising();
    LowRank("time_decay", c_.decay_rank);
    if (c2) LowRank("time_value2", c_.decay_rank);
    Add(Att("time_faaaa"), {c_.heads(), c_.head_size}, false, Initial::kBonus).lift = Rising();
    Matrix(Att("receptance.weight"), c_.width, c_.width);
    Matrix(Att("key.weight"), c_.width, c_.width, 0.1);
    Matrix(Att("value.weight"), c_.width, c_.width);
    if (!c2) Matrix(Att("gate.weight"), c_.width, c_.width, 0.1);
    Matrix(Att("output.weight"), c_.width, c_.width, 0);
    OutputNorm();
  }

  void Gold() {
    Mix(Att("time_maa_x"));
    Mix(Att("time_maa_q"), 0.5);
    Mix(Att("time_maa_v_cache"));
    Mix(Att("time_maa_k"));
    Mix(Att("time_maa_v"), 1, 0.3);
    LowRank("time_maa_q", c_.mix_rank);
    ManyLowRank("time_maa_kv", 2);
    LowRank("time_key", c_.gold_rank);
    LowRank("time_value", c_.gold_rank);
    Matrix(Att("query.weight"), c_.width, c_.width);
    Matrix(Att("output.weight"), c_.width, c_.width, 0);
    for (const char* name : {"ln_q", "ln_k", "ln_v"}) Norm(Att(name));
    OutputNorm();
  }

  void GptAlpha() {
    Mix(Att("time_maa_x"));
    Mix(Att("time_maa_r"), 0.5);
    Mix(Att("time_maa_k"));
    Mix(Att("time_maa_v"), 1, 0.3);
    ManyLowRank("time_maa", 3);
    Matrix(Att("query.weight"), c_.width, c_.width);
    Matrix(Att("key.weight"), c_.width, c_.width, 0.1);
    Matrix(Att("value.weight"), c_.width, c_.width);
    Matrix(Att("output.weight"), c_.width, c_.width, 0);
    for (const char* name : {"ln_r", "ln_k", "ln_v"}) Norm(Att(name));
    OutputNorm();
  }

  void Channel() {
    if (c_.channel == ChannelMix::kLlama) {
      Matrix(Ffn("w1.weight"), c_.ffn_width, c_.width);
      Matrix(Ffn("w2.weight"), c_.width, c_.ffn_width);
      Matrix(Ffn("w3.weight"), c_.ffn_width, c_.width);
      return;
    }
    Mix(Ffn("time_maa_k"));
    Mix(Ffn("time_maa_r"));
    Matrix(Ffn("key.weight"), c_.ffn_width, c_.width);
    Matrix(Ffn("receptance.weight"), c_.width, c_.width, 0);
    Matrix(Ffn("value.weight"), c_.width, c_.ffn_width, 0);
  }

  const Config& c_;
  int64_t layer_ = 0;
  std::vector<Parameter> out_;
};

}  // namespace

std::vector<Parameter> ListParameters(const Config& config) {
  return List(config).Make();
}

std::string BlockName(int64_t layer, const std::string& rest) {
  return "blocks." + std::to_string(layer) + "." + rest;
}

void CheckTensors(const native::NamedTensors& tensors, const std::vector<Parameter>& parameters) {
  for (const Parameter& p : parameters) nn::RequireTensor(tensors, p.spec.name, p.spec.shape);
  if (tensors.size() == parameters.size()) return;
  std::set<std::string> known;
  for (const Parameter& p : parameters) known.insert(p.spec.name);
  for (const auto& [name, tensor] : tensors)
    if (!known.contains(name)) throw std::invalid_argument("tensor " + name + " is none of the model's");
}

}  // namespace volery::goldfinch
