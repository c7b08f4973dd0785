#include "import.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "config.h"
#include "tensors.h"

namespace volery::goldfinch {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

std::optional<TimeMix> KindOf(const Shapes& shapes, int64_t layer) {
  const auto has = [&](const char* name) { return shapes.contains(BlockName(layer, name)); };
  if (has("att.time_maa_v_cache")) return TimeMix::kGold;
  if (has("att.time_value2_w1")) return TimeMix::kFinchC2;
  if (has("att.ln_r.weight")) return TimeMix::kGptAlpha;
  if (has("att.wq.weight")) return TimeMix::kLlama;
  if (has("att.gate.weight") && has("att.time_maa_w1")) return TimeMix::kFinch;
  return std::nullopt;
}

int64_t Layers(const Shapes& shapes) {
  int64_t layers = 0;
  while (shapes.contains(BlockName(layers, "ln1.weight"))) layers++;
  return layers;
}

// A dimension of a tensor that may be missing or of another rank.
int64_t Dimension(const Shapes& shapes, const std::string& name, size_t rank, size_t dimension) {
  const auto found = shapes.find(name);
  if (found == shapes.end()) throw std::invalid_argument("tensor " + name + " is missing");
  if (found->second.size() != rank)
    throw std::invalid_argument("tensor " + name + " has " + std::to_string(found->second.size()) +
                                " dimensions; " + std::to_string(rank) + " are needed");
  return found->second[dimension];
}

// Head size: from time_faaaa; the models without it have 64.
int64_t HeadSize(const Shapes& shapes, const Config& c) {
  return Attends(c.lower) ? 64 : Dimension(shapes, BlockName(0, "att.time_faaaa"), 2, 1);
}

void ReadWidths(const Shapes& shapes, Config& c) {
  c.vocabulary = Dimension(shapes, "emb.weight", 2, 0);
  c.width = Dimension(shapes, "emb.weight", 2, 1);
  c.head_size = HeadSize(shapes, c);
  c.channel = shapes.contains(BlockName(0, "ffn.w1.weight")) ? ChannelMix::kLlama : ChannelMix::kRwkv;
  c.ffn_width = Dimension(
      shapes, BlockName(0, c.channel == ChannelMix::kLlama ? "ffn.w1.weight" : "ffn.key.weight"), 2, 0);
  if (c.lower != TimeMix::kLlama) c.mix_rank = Dimension(shapes, BlockName(0, "att.time_maa_w2"), 3, 1);
  if (!Attends(c.lower)) c.decay_rank = Dimension(shapes, BlockName(0, "att.time_decay_w1"), 2, 1);
  c.gold_rank = DefaultGoldRank(c.width);
  if (!c.gold()) return;
  c.compressed = Dimension(shapes, "w_kv_cache_a.weight", 2, 0);
  c.gold_rank = Dimension(shapes, BlockName(c.layers - 1, "att.time_key_w1"), 2, 1);
}

// layers of one kind, then layers of another
void ReadKinds(const Shapes& shapes, Config& c) {
  c.first_upper = c.layers;
  for (int64_t i = 0; i < c.layers; i++) {
    const std::optional<TimeMix> kind = KindOf(shapes, i);
    if (!kind)
      throw std::invalid_argument("the time mixer of " + BlockName(i, "att") + " is of no known kind");
    if (i == 0) c.lower = c.upper = *kind;
    if (*kind == c.upper) continue;
    if (c.upper != c.lower)
      throw std::invalid_argument("the layers are of more than two kinds, or the kinds alternate (from " +
                                  BlockName(i, "att") + " on)");
    c.upper = *kind;
    c.first_upper = i;
  }
}

// A ratio that gives back the number of lower layers; whole where one does.
double RatioOf(const Config& c) {
  if (c.first_upper >= c.layers) return 3;
  for (int64_t whole = 1; whole <= c.layers; whole++)
    if (FirstUpper(c.layers, static_cast<double>(whole)) == c.first_upper) return static_cast<double>(whole);
  // In the middle of what rounds to it.
  return static_cast<double>(c.layers) / (static_cast<double>(c.layers - c.first_upper) - 0.5);
}

void CheckShapes(const Shapes& shapes, const std::vector<Parameter>& parameters) {
  Shapes left = shapes;
  for (const Parameter& p : parameters) {
    const auto found = left.find(p.spec.name);
    if (found == left.end()) throw std::invalid_argument("tensor " + p.spec.name + " is missing");
    if (found->second != p.spec.shape)
      throw std::invalid_argument("tensor " + p.spec.name + " has shape " +
                                  c10::str(at::IntArrayRef(found->second)) + "; the others need " +
                                  c10::str(at::IntArrayRef(p.spec.shape)));
    left.erase(found);
  }
  if (!left.empty()) throw std::invalid_argument("tensor " + left.begin()->first + " is none of the model's");
}

Shapes ShapesOf(const std::vector<native::FileTensor>& tensors) {
  Shapes out;
  for (const native::FileTensor& t : tensors) out[t.name] = t.shape;
  return out;
}

// What the tensors say: all but positions, switches and the context.
Config ReadConfig(const Shapes& shapes) {
  Config c;
  c.layers = Layers(shapes);
  ReadKinds(shapes, c);
  ReadWidths(shapes, c);
  return c;
}

// Sets a key that is missing, and holds one that is there against the tensors.
class Completion {
 public:
  explicit Completion(nlohmann::ordered_json& config) : config_(config) {}
  template <class Value>
  void Set(const char* key, const Value& value) {
    if (Missing(key))
      Add(key, value);
    else if (config_[key] != value)
      Contradict(key, nlohmann::json(value).dump());
  }
  // A rank or width with a usual value, which need not be written.
  void SetUnlessUsual(const char* key, int64_t value, int64_t usual) {
    if (value != usual || !Missing(key)) Set(key, value);
  }
  void SetRatio(const Config& c) {
    constexpr char key[] = "inv_other_layer_ratio";
    if (c.first_upper >= c.layers) return;
    if (Missing(key))
      Add(key, RatioOf(c));
    else if (!config_[key].is_number() || FirstUpper(c.layers, config_[key].get<double>()) != c.first_upper)
      Contradict(key, std::to_string(c.layers - c.first_upper) + " of " + std::to_string(c.layers) +
                          " layers are of the upper kind");
  }
  void SetCompression(const Config& c) {
    constexpr char key[] = "kv_cache_compression_ratio";
    if (!c.gold()) return;
    const auto width = static_cast<double>(c.width), ratio = width / static_cast<double>(c.compressed);
    if (Missing(key))
      Add(key, ratio);
    else if (!config_[key].is_number() ||
             static_cast<int64_t>(width / config_[key].get<double>() + 1e-6) != c.compressed)
      Contradict(key, "keys of " + std::to_string(c.compressed) + " values");
  }
  bool changed() const { return changed_; }

 private:
  bool Missing(const char* key) const { return !config_.contains(key) || config_[key].is_null(); }
  template <class Value>
  void Add(const char* key, const Value& value) {
    config_[key] = value;
    changed_ = true;
  }
  [[noreturn]] void Contradict(const char* key, const std::string& found) const {
    throw std::invalid_argument(std::string("config.json: ") + key + " = " + config_[key].dump() +
                                ", but the tensors say " + found);
  }
  nlohmann::ordered_json& config_;
  bool changed_ = false;
};

}  // namespace

std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors) {
  const Shapes shapes = ShapesOf(tensors);
  // Finch alone is what the original RWKV code saves too: its own plugin's.
  bool ours = false;
  for (int64_t i = 0; i < Layers(shapes); i++)
    ours |= KindOf(shapes, i).value_or(TimeMix::kFinch) != TimeMix::kFinch;
  if (!ours) return std::nullopt;
  Config c = ReadConfig(shapes);
  // The file doesn't say. 1024 is what models with rotary positions were trained with; the others have no end.
  const bool rotary = c.lower == TimeMix::kGptAlpha || c.lower == TimeMix::kLlama;
  if (rotary) c.rope_theta = 10000;
  c.context = rotary ? 1024 : 4096;
  native::ImportPlan plan;
  plan.config_json = ConfigJson(c, RatioOf(c), 0, 0, -1);
  CheckShapes(shapes, ListParameters(ParseConfig(plan.config_json)));
  plan.tensors = PthTensors(plan.config_json);
  return plan;
}

std::vector<native::ImportedTensor> PthTensors(const std::string& config_json) {
  std::vector<native::ImportedTensor> out;
  for (const Parameter& p : ListParameters(ParseConfig(config_json))) out.push_back({p.spec.name, p.spec.name, 0});
  return out;
}

std::string CompleteConfig(const std::string& config_json, const std::vector<native::FileTensor>& tensors) {
  const Shapes shapes = ShapesOf(tensors);
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(config_json, nullptr, false);
  if (!config.is_object() || Layers(shapes) == 0) return config_json;  // refused later, with what is wrong
  const Config c = ReadConfig(shapes);
  Completion complete(config);
  complete.Set("hidden_size", c.width);
  complete.Set("num_hidden_layers", c.layers);
  complete.Set("vocab_size", c.vocabulary);
  complete.Set("intermediate_size", c.ffn_width);
  complete.Set("tmix", NameOf(c.lower));
  complete.Set("tmix2", NameOf(c.upper));
  complete.Set("cmix", NameOf(c.channel));
  complete.Set("cmix2", NameOf(c.channel));
  if (!Attends(c.lower)) complete.Set("head_size", c.head_size);
  complete.SetRatio(c);
  complete.SetCompression(c);
  const Config usual;
  if (c.lower != TimeMix::kLlama) complete.SetUnlessUsual("time_mix_extra_dim", c.mix_rank, usual.mix_rank);
  if (!Attends(c.lower)) complete.SetUnlessUsual("time_decay_extra_dim", c.decay_rank, usual.decay_rank);
  if (c.gold()) complete.SetUnlessUsual("key_value_extra_dim", c.gold_rank, DefaultGoldRank(c.width));
  return complete.changed() ? config.dump(2) + "\n" : config_json;
}

}  // namespace volery::goldfinch
