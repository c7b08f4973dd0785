#pragma once
// A tiny native::Model whose arithmetic is plain loops, so that rows never depend on each other: a recurrent
// state h, h' = h / 2 + E[token], hidden row = h', logits = H h'. It counts what the engine asks of it.

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/policy/version.h"
#include "volery/native/model.h"

namespace volery::inference::test {

struct FakeWeights : native::PreparedWeights {
  int64_t version() const override { return id; }
  int64_t bytes() const override { return embed.nbytes() + head.nbytes(); }
  int64_t id = 0;
  at::Tensor embed, head;  // [V, W]
};

struct FakeLog {
  std::vector<std::vector<int64_t>> steps;  // tokens of each chunk of each Advance
  int64_t tokens_read = 0, forks = 0, live_slots = 0, most_slots = 0;
};

class FakeState : public native::DecodeState {
 public:
  FakeState(FakeLog& log, int64_t width) : log_(log), width_(width) {}
  int64_t Allocate(int64_t) override { return Add({std::vector<float>(width_), 0}); }
  int64_t Fork(int64_t slot, int64_t) override {
    ++log_.forks;
    return Add(slots_.at(slot));
  }
  void Drop(int64_t slot) override {
    slots_.erase(slots_.find(slot));
    log_.live_slots = static_cast<int64_t>(slots_.size());
  }
  void Clear(int64_t slot) override { slots_.at(slot) = {std::vector<float>(width_), 0}; }
  int64_t Length(int64_t slot) const override { return slots_.at(slot).length; }
  int64_t bytes() const override { return static_cast<int64_t>(slots_.size()) * width_ * 4; }

  struct Slot {
    std::vector<float> h;
    int64_t length;
  };
  Slot& at(int64_t slot) { return slots_.at(slot); }

 private:
  int64_t Add(Slot slot) {
    slots_.emplace(next_, std::move(slot));
    log_.live_slots = static_cast<int64_t>(slots_.size());
    log_.most_slots = std::max(log_.most_slots, log_.live_slots);
    return next_++;
  }
  FakeLog& log_;
  const int64_t width_;
  int64_t next_ = 0;
  std::map<int64_t, Slot> slots_;
};

class FakeModel : public native::Model {
 public:
  explicit FakeModel(int64_t vocabulary = 40, int64_t context = 64) {
    info_.family = "fake";
    info_.layers = 1;
    info_.width = 6;
    info_.vocabulary = vocabulary;
    info_.context = context;
    info_.parameters = 2 * vocabulary * info_.width;
    specs_ = {{"embed", {vocabulary, info_.width}, true, 1}, {"head", {vocabulary, info_.width}, true, 1}};
  }
  const native::ModelInfo& info() const override { return info_; }
  const std::string& config_json() const override { return config_; }
  const std::vector<native::TensorSpec>& parameters() const override { return specs_; }
  native::StateSpec state_spec(c10::ScalarType) const override {
    return {info_.width * 4, 10, readable, "one vector", shared_bytes};
  }
  void Initialise(native::NamedTensors& parameters, uint64_t seed) const override {
    for (auto& [name, tensor] : parameters) {
      float* x = tensor.mutable_data_ptr<float>();
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        x[i] = static_cast<float>(static_cast<double>(seed >> 40) / (1 << 23) - 1.0);
      }
    }
  }

  void Bind(const native::NamedTensors& parameters) override { bound_ = parameters; }
  int64_t blocks() const override { return 1; }
  struct Context : native::TrainContext {
    const native::Batch* batch = nullptr;
  };
  std::unique_ptr<native::TrainContext> Begin(const native::Batch& batch) override {
    auto context = std::make_unique<Context>();
    context->batch = &batch;
    return context;
  }
  at::Tensor Embed(const native::Batch& batch, native::TrainContext&) override {
    return bound_.at("embed").index_select(0, batch.tokens);
  }
  at::Tensor Block(int64_t, const at::Tensor& x, native::TrainContext& context) override {
    std::vector<at::Tensor> rows(x.size(0));
    const auto& segments = static_cast<Context&>(context).batch->segments;
    for (const native::Segment& segment : segments) {
      at::Tensor h = segment.parent < 0 ? at::zeros({1, x.size(1)}) : rows[segments[segment.parent].end - 1];
      for (int64_t t = segment.begin; t < segment.end; ++t) rows[t] = h = h * 0.5 + x.narrow(0, t, 1);
    }
    return at::cat(rows);
  }
  at::Tensor Final(const at::Tensor& x) override { return x; }
  at::Tensor Logits(const at::Tensor& hidden) override { return hidden.matmul(bound_.at("head").t()); }

  std::shared_ptr<const native::PreparedWeights> Prepare(const native::NamedTensors& weights,
                                                         int64_t version) const override {
    auto prepared = std::make_shared<FakeWeights>();
    prepared->id = version;
    prepared->embed = weights.at("embed").clone();
    prepared->head = weights.at("head").clone();
    return prepared;
  }
  std::unique_ptr<native::DecodeState> MakeState(c10::ScalarType) const override {
    return std::make_unique<FakeState>(*log, info_.width);
  }
  at::Tensor Advance(const native::PreparedWeights& weights, native::DecodeState& state,
                     std::span<const native::Chunk> chunks) const override {
    if (fail_next) throw std::runtime_error("planned failure");
    const auto& own = static_cast<const FakeWeights&>(weights);
    std::vector<float> rows;
    log->steps.emplace_back();
    for (const native::Chunk& chunk : chunks) {
      FakeState::Slot& slot = static_cast<FakeState&>(state).at(chunk.slot);
      log->steps.back().push_back(static_cast<int64_t>(chunk.tokens.size()));
      log->tokens_read += static_cast<int64_t>(chunk.tokens.size());
      for (size_t i = 0; i < chunk.tokens.size(); ++i) {
        const float* e = own.embed.const_data_ptr<float>() + chunk.tokens[i] * info_.width;
        for (int64_t w = 0; w < info_.width; ++w) slot.h[w] = slot.h[w] * 0.5f + e[w];
        ++slot.length;
        if (static_cast<int64_t>(i) >= chunk.first_row) rows.insert(rows.end(), slot.h.begin(), slot.h.end());
      }
    }
    return at::tensor(rows).reshape({-1, info_.width});
  }
  at::Tensor Logits(const native::PreparedWeights& weights, const at::Tensor& hidden) const override {
    const auto& own = static_cast<const FakeWeights&>(weights);
    at::Tensor result = at::zeros({hidden.size(0), info_.vocabulary});
    float* out = result.mutable_data_ptr<float>();
    const float* h = hidden.const_data_ptr<float>();
    const float* head = own.head.const_data_ptr<float>();
    for (int64_t r = 0; r < hidden.size(0); ++r) {
      for (int64_t v = 0; v < info_.vocabulary; ++v) {
        float sum = 0;
        for (int64_t w = 0; w < info_.width; ++w) sum += h[r * info_.width + w] * head[v * info_.width + w];
        out[r * info_.vocabulary + v] = sum;
      }
    }
    return result;
  }

  bool readable = true;
  int64_t shared_bytes = 0;
  bool fail_next = false;
  std::shared_ptr<FakeLog> log = std::make_shared<FakeLog>();

 private:
  native::ModelInfo info_;
  std::string config_ = "{}";
  std::vector<native::TensorSpec> specs_;
  native::NamedTensors bound_;
};

inline native::NamedTensors FakeTensors(const FakeModel& model, uint64_t seed) {
  native::NamedTensors tensors;
  for (const native::TensorSpec& spec : model.parameters()) tensors[spec.name] = at::zeros(spec.shape);
  model.Initialise(tensors, seed);
  return tensors;
}

// Version `id` has weights of seed 100 + id.
inline std::shared_ptr<const policy::TensorVersion> FakeVersion(const FakeModel& model, int64_t id) {
  return policy::MakeVersion(VersionId(id), FakeTensors(model, 100 + static_cast<uint64_t>(id)));
}

}  // namespace volery::inference::test
