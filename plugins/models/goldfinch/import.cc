#include "import.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
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
    throw std::invalid_argument("tensor " + name + " has " + std::to_string(found->second.size()) + " dimensions; " +
                                std::to_string(rank) + " are needed");
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
  c.ffn_width =
      Dimension(shapes, BlockName(0, c.channel == ChannelMix::kLlama ? "ffn.w1.weight" : "ffn.key.weight"), 2, 0);
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
    if (!kind) throw std::invalid_argument("the time mixer of " + BlockName(i, "att") + " is of no known kind");
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
      throw std::invalid_argument("tensor " + p.spec.name + " has shape " + c10::str(at::IntArrayRef(found->second)) +
                                  "; the others need " + c10::str(at::IntArrayRef(p.spec.shape)));
    left.erase(found);
  }
  if (!left.empty()) throw std::invalid_argument("tensor " + left.begin()->first + " is none of the model's");
}

}  // namespace

std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors) {
  Shapes shapes;
  for (const native::FileTensor& t : tensors) shapes[t.name] = t.shape;
  Config c;
  c.layers = Layers(shapes);
  // Finch alone is what the original RWKV code saves too: its own plugin's.
  bool ours = false;
  for (int64_t i = 0; i < c.layers; i++) ours |= KindOf(shapes, i).value_or(TimeMix::kFinch) != TimeMix::kFinch;
  if (!ours) return std::nullopt;
  ReadKinds(shapes, c);
  ReadWidths(shapes, c);
  c.context = 1024;
  if (c.lower == TimeMix::kGptAlpha || c.lower == TimeMix::kLlama) c.rope_theta = 10000;
  native::ImportPlan plan;
  plan.config_json = ConfigJson(c, RatioOf(c), 0, 0, -1);
  const std::vector<Parameter> parameters = ListParameters(ParseConfig(plan.config_json));
  CheckShapes(shapes, parameters);
  for (const Parameter& p : parameters) plan.tensors.push_back({p.spec.name, p.spec.name});
  return plan;
}

}  // namespace volery::goldfinch
