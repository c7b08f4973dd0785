#pragma once
// A deterministic engine without LibTorch and without time.

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/random.h"
#include "core/data/engine.h"

namespace volery::orchestration {

inline uint32_t Word(uint64_t seed, uint64_t a, uint32_t b, uint64_t n) {
  return base::RandomStream(seed, base::RandomUse::kPlugin, a, b).Word(n);
}

// Gives other threads a chance, a varying number of times.
class Jitter {
 public:
  explicit Jitter(uint64_t seed) : seed_(seed) {}
  void operator()() {
    if (seed_ == 0) return;
    const uint32_t turns = Word(seed_, 0, 0, next_++) % 40;
    for (uint32_t i = 0; i < turns; ++i) std::this_thread::yield();
  }

 private:
  uint64_t seed_;
  std::atomic<uint64_t> next_ = 0;
};

class FakeVersion : public data::WeightVersion {
 public:
  FakeVersion(VersionId id, double weight) : id_(id), weight_(weight) {}
  VersionId id() const override { return id_; }
  const std::vector<data::TensorInfo>& tensors() const override { return none_; }
  std::span<const std::byte> bytes(size_t) const override { return {}; }
  double weight() const { return weight_; }

 private:
  VersionId id_;
  double weight_;
  std::vector<data::TensorInfo> none_;
};

struct FakePrepared : data::PreparedVersion {
  explicit FakePrepared(std::shared_ptr<const FakeVersion> v) : version(std::move(v)) {}
  VersionId id() const override { return version->id(); }
  std::shared_ptr<const FakeVersion> version;
};

// Token 0 ends a sequence. What is sampled depends on seed, group, sample, position and the weights.
class FakeEngine : public data::Engine {
 public:
  explicit FakeEngine(int64_t slots = 4, uint64_t jitter = 0) : slots_(slots), jitter_(jitter) {}

  StatusOr<data::PreparedVersionPtr> Prepare(data::WeightVersionPtr version) override {
    jitter_();
    if (fail_prepare) return InternalError("no memory for packing");
    return std::make_shared<FakePrepared>(std::static_pointer_cast<const FakeVersion>(version));
  }
  StatusOr<std::vector<data::SequenceId>> Submit(const data::SampleRequest& request) override {
    CheckThread();
    if (request.prompt.size() > 100) return InvalidError("the prompt is longer than the context");
    std::vector<data::SequenceId> ids;
    for (int32_t i = 0; i < request.samples; ++i) {
      ids.push_back({next_++});
      Live live;
      live.request = request;
      live.sample = i;
      waiting_.push_back(std::move(live));
    }
    submitted.push_back(request.group);
    return ids;
  }
  Status Extend(data::SequenceId, const std::vector<int32_t>&, const data::SamplingParams&) override {
    return OkStatus();
  }
  StatusOr<data::SequenceId> Fork(data::SequenceId, int32_t) override { return InternalError("not used"); }
  void Cancel(data::SequenceId) override {}
  Status Keep(data::SequenceId) override { return OkStatus(); }
  void Release(data::SequenceId) override {}
  Status Update(data::PreparedVersionPtr version, data::OnUpdate) override {
    CheckThread();
    released += version == nullptr;
    current_ = std::static_pointer_cast<const FakePrepared>(version);
    return OkStatus();
  }
  VersionId version() const override { return current_ ? current_->id() : VersionId(-1); }
  StatusOr<std::vector<data::FinishedSequence>> Step() override {
    CheckThread();
    jitter_();
    if (on_step) on_step();
    if (fail_step && version() >= *fail_step) return InternalError("the engine broke");
    if (throw_step) throw std::runtime_error("the engine threw");
    while (!waiting_.empty() && static_cast<int64_t>(live_.size()) < slots_) {
      waiting_.front().oldest = version();
      live_.push_back(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    std::vector<data::FinishedSequence> finished;
    std::vector<Live> going_on;
    for (Live& live : live_)
      (SampleOne(live) ? void(finished.push_back(Finish(live))) : void(going_on.push_back(std::move(live))));
    live_ = std::move(going_on);
    return finished;
  }
  bool idle() const override { return live_.empty() && waiting_.empty(); }
  data::EngineStats stats() const override {
    data::EngineStats stats;
    stats.decoded_tokens = decoded_;
    stats.live = static_cast<int64_t>(live_.size());
    stats.waiting = static_cast<int64_t>(waiting_.size());
    return stats;
  }

  std::function<void()> on_step;
  std::optional<VersionId> fail_step;
  bool throw_step = false, fail_prepare = false;
  int released = 0;                // read while it rests, or when the threads have ended
  std::vector<GroupId> submitted;  // read when the threads have ended

 private:
  struct Live {
    data::SampleRequest request;
    std::vector<int32_t> tokens;
    std::vector<float> logprobs;
    std::vector<data::VersionMark> marks;
    int32_t sample = 0;
    VersionId oldest;
  };

  void CheckThread() {
    if (owner_ == std::thread::id()) owner_ = std::this_thread::get_id();
    EXPECT_EQ(owner_, std::this_thread::get_id());
  }
  bool SampleOne(Live& live) {
    const auto position = static_cast<uint64_t>(live.tokens.size());
    uint64_t weights;
    const double weight = current_->version->weight();
    std::memcpy(&weights, &weight, sizeof weights);
    const uint32_t word = Word(live.request.params.seed ^ weights, live.request.group.bits,
                               static_cast<uint32_t>(live.sample), position);
    live.tokens.push_back(position > 0 && word % 4 == 0 ? 0 : static_cast<int32_t>(1 + word % 9));
    live.logprobs.push_back(-static_cast<float>(word % 1000) / 500.0f);
    if (live.marks.empty() || live.marks.back().version != version()) {
      live.marks.push_back({static_cast<int32_t>(position), version(), live.oldest});
    }
    ++decoded_;
    return live.tokens.back() == 0 ||
           static_cast<int32_t>(live.tokens.size()) == live.request.params.max_new_tokens;
  }
  static data::FinishedSequence Finish(const Live& live) {
    data::FinishedSequence done;
    done.rollout.group = live.request.group;
    done.rollout.sample = live.sample;
    done.rollout.stop = live.tokens.back() == 0 ? data::StopReason::kStop : data::StopReason::kLength;
    data::Span prompt, sampled;
    prompt.tokens = live.request.prompt;
    sampled.origin = data::SpanOrigin::kSampled;
    sampled.tokens = live.tokens;
    sampled.logprobs = live.logprobs;
    sampled.versions = live.marks;
    done.rollout.spans = {prompt, sampled};
    return done;
  }

  const int64_t slots_;
  Jitter jitter_;
  std::thread::id owner_;
  std::shared_ptr<const FakePrepared> current_;
  std::deque<Live> waiting_;
  std::vector<Live> live_;
  int64_t next_ = 0, decoded_ = 0;
};

}  // namespace volery::orchestration
