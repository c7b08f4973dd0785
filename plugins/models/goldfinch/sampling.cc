#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>

#include "kept.h"
#include "model.h"
#include "volery/native/chunk_rows.h"
#include "volery/nn/norm.h"

namespace volery::goldfinch {
namespace {

double ScaleOf(const Config& c) {
  return 1 / std::sqrt(static_cast<double>(c.head_size));
}

// What one call reads of its slots. The GOLD layers read the last queries[i] of counts[i] tokens.
struct Reading {
  std::vector<int64_t> slots, counts, queries, skipped;
  std::vector<nn::SlotRows> cache_rows;

  Reading One(size_t i) const {
    return {{slots[i]}, {counts[i]}, {queries[i]}, {skipped[i]}, {cache_rows[i]}};
  }
  int64_t all_queries() const {
    int64_t total = 0;
    for (int64_t count : queries) total += count;
    return total;
  }
};

// Of a chunk the first row that the GOLD layers read: the prompt's last `tail` tokens and those that the rows
// asked for need (section 3.4 of the paper; a row is exact after tail - 1 others, each sub-layer's shift
// carrying what the one below it read a token earlier).
int64_t FirstQuery(const native::Chunk& chunk, int64_t tail) {
  const int64_t count = static_cast<int64_t>(chunk.tokens.size());
  int64_t first = std::min(count, count + chunk.prompt_remaining - tail);
  if (chunk.first_row < count) first = std::min(first, chunk.first_row - (tail - 1));
  return std::max<int64_t>(first, 0);
}

void CheckExact(const native::Chunk& chunk, int64_t first, int64_t tail, const State& state) {
  if (chunk.first_row == static_cast<int64_t>(chunk.tokens.size())) return;
  const int64_t before = first > 0 ? 0 : state.read_by_gold[chunk.slot];
  const int64_t needed = std::min(tail, state.Length(chunk.slot) + chunk.first_row + 1);
  if (chunk.first_row - first + 1 + before < needed)
    throw std::invalid_argument(
        "Advance: row " + std::to_string(chunk.first_row) + " of slot " + std::to_string(chunk.slot) +
        " is asked for, but an earlier chunk said that more of the "
        "prompt was to come (prompt_remaining), so the upper layers skipped tokens that it needs");
}

Reading ReadingOf(const Config& c, std::span<const native::Chunk> chunks, const State& state) {
  Reading out;
  for (const native::Chunk& chunk : chunks) {
    const int64_t count = static_cast<int64_t>(chunk.tokens.size());
    const int64_t skipped = c.gold() ? FirstQuery(chunk, c.tail()) : 0;
    if (c.gold()) CheckExact(chunk, skipped, c.tail(), state);
    out.slots.push_back(chunk.slot);
    out.counts.push_back(count);
    out.queries.push_back(count - skipped);
    out.skipped.push_back(skipped);
    out.cache_rows.push_back({chunk.slot, count});
  }
  return out;
}

class SlotOps : public LayerOps {
 public:
  SlotOps(const Config& c, State& state, const Reading& reading)
      : LayerOps(c), state_(state), reading_(reading) {}

  std::vector<at::Tensor> Mix(Shift shift, int64_t layer, const at::Tensor& z,
                              const std::vector<nn::MixStream>& streams, bool again) override {
    const StateLayout& layout = state_.layout;
    switch (shift) {
      case Shift::kTime:
        return Mix(z, CountsOf(layer), layout.time_row[layer], streams, again);
      case Shift::kChannel:
        return Mix(z, CountsOf(layer), layout.channel_row[layer], streams, again);
      // Read by every GOLD layer; what they leave is written after the last.
      case Shift::kEmbedding:
        return Mix(z, reading_.counts, layout.embedded_row, streams, true);
      default:
        return Mix(z, reading_.counts, layout.proto_row, streams, true);
    }
  }

  at::Tensor Scan(int64_t layer, const nn::WkvInputs& in) override {
    std::vector<at::Tensor> wkv;
    for (int64_t slot : reading_.slots) wkv.push_back(state_.Wkv(slot, layer));
    return nn::WkvSlots(in, config.heads(), reading_.counts, wkv);
  }

  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const int64_t index = state_.layout.cache[layer];
    state_.cache->Store(index, reading_.cache_rows, k, v);
    return state_.cache->AttendLast(index, reading_.cache_rows, CountsOf(layer), q, ScaleOf(config));
  }

  // Only the keys and values of a GOLD layer: where it has no queries.
  void StoreGold(const Layer& layer, const GoldRows& rows) {
    const KeysValues all = GoldKeysValues(config, layer, rows, key_rotary, *this);
    state_.cache->Store(state_.layout.cache[layer.index], reading_.cache_rows, all.k, all.v);
  }

 private:
  const std::vector<int64_t>& CountsOf(int64_t layer) const {
    return config.Kind(layer) == TimeMix::kGold ? reading_.queries : reading_.counts;
  }
  std::vector<at::Tensor> Mix(const at::Tensor& z, const std::vector<int64_t>& counts, int64_t row,
                              const std::vector<nn::MixStream>& streams, bool again) const {
    std::vector<at::Tensor> states;
    for (int64_t slot : reading_.slots) states.push_back(state_.Row(slot, row));
    return (again ? nn::PeekSlots : nn::MixSlots)(z, counts, states, streams, nn::MuOf::kBefore);
  }

  State& state_;
  const Reading& reading_;
};

// One slot whose GOLD layers keep no keys and values.
class KeptOps final : public SlotOps {
 public:
  KeptOps(const Config& c, State& state, const Reading& reading, const KeptSlot& kept)
      : SlotOps(c, state, reading), kept_(kept) {}
  at::Tensor AttendGold(const Layer& layer, const at::Tensor& q, const GoldRows&) override {
    return kept_.Attend(layer, q, key_rotary, ScaleOf(config));
  }

 private:
  const KeptSlot& kept_;
};

}  // namespace

struct Model::Prepared final : native::PreparedWeights {
  int64_t id = 0;
  int64_t serial = 0;   // of this process: what was remembered of other weights is known by it
  at::Tensor embedded;  // ln0 of each row of the embedding
  Ends ends;
  std::vector<Layer> layers;
  int64_t packed_bytes = 0;

  int64_t version() const override { return id; }
  int64_t bytes() const override { return static_cast<int64_t>(embedded.nbytes()) + packed_bytes; }
};

std::shared_ptr<const native::PreparedWeights> Model::Prepare(const native::NamedTensors& weights,
                                                              int64_t version) const {
  const at::NoGradGuard no_grad;
  CheckTensors(weights, parameters_);
  static std::atomic<int64_t> serial = 0;
  auto out = std::make_shared<Prepared>();
  out->id = version;
  out->serial = serial++;
  const auto converted = [&](const std::string& name, at::IntArrayRef shape, bool copy) {
    return nn::RequireTensor(weights, name, shape).detach().to(options_.device, options_.dtype, false, copy);
  };
  const auto pack = [&](const std::vector<nn::LinearSpec>& specs, const native::NamedTensors& parts) {
    auto packed = options_.linears->Pack(specs, parts);
    out->packed_bytes += packed->bytes();
    return packed;
  };
  Source source;
  source.tensor = [&](const std::string& name, at::IntArrayRef shape) { return converted(name, shape, true); };
  source.products = [&](const std::vector<nn::LinearSpec>& specs) {
    native::NamedTensors parts;
    Products products;
    for (const nn::LinearSpec& spec : specs) {
      parts[spec.weight] = converted(spec.weight, spec.shape(), false);
      if (!spec.bias.empty()) parts[spec.bias] = converted(spec.bias, {1, 1, spec.out}, false);
      products.widths.push_back(spec.out);
    }
    products.packed = pack(specs, parts);
    return products;
  };
  // In float32, so that the parts add up to the bits of the whole.
  if (cache_mode_ == CacheMode::kCompressed && options_.device.is_cpu() && config_.width % nn::kSumBlock == 0 &&
      config_.compressed <= nn::kSumBlock)
    source.cut = [&](const nn::LinearSpec& spec, const std::vector<int64_t>& widths) {
      std::vector<Product> products;
      const at::Tensor whole = converted(spec.weight, spec.shape(), false).to(at::kFloat);
      int64_t begin = 0;
      for (int64_t width : widths) {
        const at::Tensor part = whole.narrow(1, begin, width).contiguous();
        products.push_back({nullptr, pack({{spec.weight, "", width, spec.out}}, {{spec.weight, part}})});
        begin += width;
      }
      return products;
    };
  out->ends = TakeEnds(config_, source);
  for (int64_t i = 0; i < config_.layers; i++) out->layers.push_back(TakeLayer(config_, i, source));
  out->embedded = Normed(out->ends.embedded,
                         converted("emb.weight", {config_.vocabulary, config_.width}, false), config_);
  return out;
}

std::unique_ptr<native::DecodeState> Model::MakeState(c10::ScalarType dtype) const {
  return std::make_unique<State>(config_, cache_mode_, memo_bytes_, dtype, options_.device);
}

// One Advance call.
class Model::Step {
 public:
  Step(const Model& model, const Prepared& weights, State& state, std::span<const native::Chunk> chunks)
      : model_(model),
        c_(model.config_),
        weights_(weights),
        state_(state),
        rows_(chunks, c_.vocabulary),
        reading_(ReadingOf(c_, chunks, state)),
        ops_(c_, state, reading_) {
    PlanRows(chunks);
  }

  at::Tensor Run() {
    if (rows_.tokens().empty()) return at::empty({0, c_.width}, weights_.embedded.options());
    if (state_.memo) state_.memo->Begin(weights_.serial);
    if (state_.cache) state_.cache->Reserve(reading_.cache_rows);
    const at::Tensor tokens = IndexTensor(rows_.tokens(), device());
    const at::Tensor x0 = weights_.embedded.index_select(0, tokens);
    at::Tensor x = x0;
    const int64_t lower = c_.gold() ? c_.first_upper : c_.layers;
    for (int64_t i = 0; i < lower; i++) x = RunLayer(c_, weights_.layers[i], x, {}, ops_);
    if (c_.gold()) x = RunGold(tokens, x0, x);
    Commit();
    return Normed(weights_.ends.last, Select(x, wanted_), c_);
  }

 private:
  at::Device device() const { return weights_.embedded.device(); }
  // Rows of x; x itself where they are all of it.
  at::Tensor Select(const at::Tensor& x, const std::vector<int64_t>& rows) const {
    return static_cast<int64_t>(rows.size()) == x.size(0) ? x : x.index_select(0, IndexTensor(rows, device()));
  }

  void PlanRows(std::span<const native::Chunk> chunks) {
    std::vector<int64_t> positions, query_positions;
    int64_t row = 0, largest = 0;
    for (size_t i = 0; i < chunks.size(); i++) {
      const int64_t length = state_.Length(chunks[i].slot);
      for (int64_t t = 0; t < reading_.counts[i]; t++, row++) {
        positions.push_back(length + t);
        largest = std::max(largest, length + t);
        if (t < reading_.skipped[i]) continue;
        if (t >= chunks[i].first_row) wanted_.push_back(static_cast<int64_t>(queries_.size()));
        queries_.push_back(row);
        query_positions.push_back(length + t);
      }
      if (reading_.skipped[i] > 0) {
        before_gold_slots_.push_back(chunks[i].slot);
        before_gold_.push_back(row - reading_.queries[i] - 1);
      }
    }
    if (!model_.rotary_ || positions.empty()) return;
    ops_.key_rotary = model_.RotaryOf(IndexTensor(positions, device()), largest, at::kFloat);
    ops_.query_rotary = queries_.empty()
                            ? ops_.key_rotary
                            : model_.RotaryOf(IndexTensor(query_positions, device()), largest, at::kFloat);
  }

  at::Tensor RunGold(const at::Tensor& tokens, const at::Tensor& x0, const at::Tensor& below) {
    LeaveFirstShift(below);
    const at::Tensor x = Select(below, queries_), compressed = weights_.ends.compress(below);
    switch (state_.mode) {
      case CacheMode::kFull:
        return RunFull({UnitEmbedding(x0), ProtoKeys(weights_.ends, x0, compressed)}, x);
      case CacheMode::kProtoKeys:
        return RunKept(tokens, ProtoKeys(weights_.ends, x0, compressed), x);
      default:
        return RunKept(tokens, compressed, x);
    }
  }

  // The first GOLD layer's shift is exact at every token: its input is the lower layers'.
  void LeaveFirstShift(const at::Tensor& below) {
    if (before_gold_.empty()) return;
    const int64_t layer = c_.first_upper;
    const at::Tensor z = Normed(weights_.layers[layer].before_time, Select(below, before_gold_), c_);
    for (size_t i = 0; i < before_gold_.size(); i++)
      state_.Row(before_gold_slots_[i], state_.layout.time_row[layer])
          .copy_(z.select(0, static_cast<int64_t>(i)));
  }

  at::Tensor RunFull(const GoldRows& gold, at::Tensor x) {
    for (int64_t i = c_.first_upper; i < c_.layers; i++) {
      if (queries_.empty())
        ops_.StoreGold(weights_.layers[i], gold);
      else
        x = RunLayer(c_, weights_.layers[i], x, gold, ops_);
    }
    int64_t row = 0;
    for (size_t i = 0; i < reading_.slots.size(); i++) {
      row += reading_.counts[i];
      if (reading_.counts[i] == 0) continue;
      state_.Row(reading_.slots[i], state_.layout.embedded_row).copy_(gold.embedded.select(0, row - 1));
      state_.Row(reading_.slots[i], state_.layout.proto_row).copy_(gold.proto_keys.select(0, row - 1));
    }
    return x;
  }

  // Slot after slot: only one slot's proto-keys are there at a time.
  at::Tensor RunKept(const at::Tensor& tokens, const at::Tensor& kept, const at::Tensor& x) {
    std::vector<at::Tensor> out;
    int64_t row = 0, query = 0;
    for (size_t i = 0; i < reading_.slots.size(); i++) {
      const int64_t slot = reading_.slots[i], count = reading_.counts[i], queries = reading_.queries[i];
      state_.kept->Append(slot, tokens.narrow(0, row, count), kept.narrow(0, row, count));
      if (queries > 0) out.push_back(RunSlot(reading_.One(i), x.narrow(0, query, queries)));
      row += count;
      query += queries;
    }
    return out.empty() ? x : at::cat(out);
  }

  at::Tensor RunSlot(const Reading& reading, at::Tensor x) {
    const int64_t slot = reading.slots[0], tokens = state_.kept->Length(slot);
    const KeptSlot kept(c_, weights_.ends, weights_.layers, weights_.embedded, *state_.memo, state_.mode,
                        state_.kept->Tokens(slot), state_.kept->Rows(slot));
    KeptOps ops(c_, state_, reading, kept);
    if (model_.rotary_) {
      const at::Tensor positions = at::arange(tokens, at::dtype(at::kLong).device(device()));
      ops.key_rotary = model_.RotaryOf(positions, tokens - 1, at::kFloat);
      const auto last = [&](const at::Tensor& t) { return t.narrow(0, t.size(0) - x.size(0), x.size(0)); };
      ops.query_rotary = {last(ops.key_rotary.cos), last(ops.key_rotary.sin)};
    }
    for (int64_t i = c_.first_upper; i < c_.layers; i++) x = RunLayer(c_, weights_.layers[i], x, {}, ops);
    return x;
  }

  void Commit() {
    if (state_.cache) state_.cache->Commit(reading_.cache_rows);
    for (size_t i = 0; i < reading_.slots.size(); i++) {
      state_.states.Grow(reading_.slots[i], reading_.counts[i]);
      int64_t& read = state_.read_by_gold[reading_.slots[i]];
      read = (reading_.skipped[i] > 0 ? 0 : read) + reading_.queries[i];
    }
  }

  const Model& model_;
  const Config& c_;
  const Prepared& weights_;
  State& state_;
  const native::ChunkRows rows_;
  const Reading reading_;
  SlotOps ops_;
  std::vector<int64_t> queries_;                          // rows that the upper layers read
  std::vector<int64_t> wanted_;                           // of those, the ones asked for
  std::vector<int64_t> before_gold_, before_gold_slots_;  // the last row that is skipped, and whose it is
};

at::Tensor Model::Advance(const native::PreparedWeights& weights, native::DecodeState& state,
                          std::span<const native::Chunk> chunks) const {
  const at::NoGradGuard no_grad;
  return Step(*this, dynamic_cast<const Prepared&>(weights), dynamic_cast<State&>(state), chunks).Run();
}

at::Tensor Model::Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const {
  const at::NoGradGuard no_grad;
  return dynamic_cast<const Prepared&>(weights).ends.head(hidden).to(at::kFloat);
}

}  // namespace volery::goldfinch
