#pragma once
// The in-process side of both seams: an engine as RolloutSource and as WeightSink. It owns the sampler's
// thread, the only one that touches the engine. A version is packed by whoever publishes it, straight from
// the tensors it names, so that the sampler never waits for packing and no second copy of the weights stands
// between.
//
// A group is sampled with the newest version that was published before its admission, or a newer one. Groups
// go to the engine in the order of their ids, a whole admission at once; so with nothing else in flight
// (staleness 0) the engine sees the same requests between the same steps in every run.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/queue.h"
#include "core/base/threads.h"
#include "core/data/seams.h"
#include "core/orchestration/thread.h"

namespace volery::orchestration {

struct EngineSourceOptions {
  data::OnUpdate on_update = data::OnUpdate::kKeep;
  // Text of sampled tokens, which include what ended them, for the rewards. Called by the threads that call Next.
  std::function<StatusOr<std::string>(const std::vector<int32_t>& tokens, data::StopReason stop)> decode;
  // How many sequences may be with the engine at once: as many as it has slots. The rest waits here, in the
  // order of ids, so that a step's refills go before later steps' groups. 0: no limit.
  int64_t max_sequences = 0;
  // Runs first on the sampler's thread, e.g. to fix how many cores it uses. May be empty.
  std::function<void()> on_thread_start;
  base::Clock* clock = &base::Clock::Real();
  base::Watchdog* watchdog = nullptr;  // optional; outlives the source
};

// All public functions are thread-safe.
class EngineSource : public data::RolloutSource, public data::WeightSink {
 public:
  // `engine` must outlive this. An engine's error stops the run through `stop`.
  EngineSource(data::Engine& engine, EngineSourceOptions options, base::StopToken stop);
  ~EngineSource() override;  // ends the thread; groups in flight are given up

  data::SourceSupplies supplies() const override { return {}; }
  Status Admit(std::vector<data::GroupSpec> groups) override;
  StatusOr<data::Group> Next(int64_t timeout_ms) override;
  // Packs the version on the calling thread.
  Status Publish(data::WeightVersionPtr version) override;
  // The engine lets go of its weights, unless it has something to sample. Returns when that is settled.
  void Rest() override;
  // "sampler/idle" (share of the time since the last call), "time/wait_for_weights" (seconds in which groups
  // waited for a version and nothing could be decoded), "tokens_per_s" (sampled), "sampler/tokens",
  // "sampler/sequences" (the most that were decoded at once).
  base::MetricRow TakeMetrics() override;

 private:
  struct Waiting {
    data::GroupSpec spec;
    uint64_t needs = 0;  // number of the publication that it waits for
  };
  struct Partial {
    data::Group group;
    int32_t missing = 0;
  };
  struct Prepared {
    uint64_t number = 0;
    data::PreparedVersionPtr version;
  };
  enum class Mode { kIdle, kWaitingForWeights, kBusy };

  Status SamplerLoop();
  bool SamplerHasWork() const;  // with mutex_
  void WaitForWork(std::unique_lock<std::mutex>& lock);
  Status ReleaseWeights();
  Status TakeWeights();
  Status SubmitWaiting();
  std::optional<data::GroupSpec> NextSpec();
  Status Submit(data::GroupSpec spec);
  Status Decode();
  Status Collect(data::FinishedSequence finished, std::vector<data::Group>& complete);
  Status FillCompletions(data::Group& group) const;
  void Account(Mode next);  // with mutex_
  std::string SamplerActivity() const;
  static void Moved(const std::shared_ptr<base::Watchdog::Entry>& entry);
  void Wake();

  data::Engine& engine_;
  const EngineSourceOptions options_;
  base::StopToken stop_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool closing_ = false;
  std::map<GroupId, Waiting> waiting_;  // admitted, not yet with the engine
  std::deque<data::Group> finished_;
  uint64_t published_ = 0;  // publications so far
  uint64_t active_ = 0;     // the one that the engine samples with
  std::optional<Prepared> prepared_;
  bool release_ = false;  // asked for; false again when it is done or can't be
  Mode mode_ = Mode::kIdle;
  double mode_since_ = 0, metrics_since_ = 0, idle_s_ = 0, weights_s_ = 0;
  int64_t tokens_ = 0, live_ = 0, most_live_ = 0;

  // The sampler's thread only.
  std::map<GroupId, Partial> partial_;
  int64_t decoded_before_ = 0;
  bool engine_idle_ = true;

  std::shared_ptr<base::Watchdog::Entry> sampler_entry_;
  std::shared_ptr<void> stop_handle_;
  std::unique_ptr<RunThread> sampler_;
};

}  // namespace volery::orchestration
