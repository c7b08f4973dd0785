#include "core/orchestration/engine_source.h"

#include <algorithm>

namespace volery::orchestration {

EngineSource::EngineSource(data::Engine& engine, EngineSourceOptions options, base::StopToken stop)
    : engine_(engine), options_(std::move(options)), stop_(std::move(stop)) {
  mode_since_ = metrics_since_ = options_.clock->NowSeconds();
  stop_handle_ = stop_.OnStop([this] { Wake(); });
  if (options_.watchdog != nullptr) {
    sampler_entry_ = options_.watchdog->Register("sampler", [this] { return SamplerActivity(); });
  }
  sampler_ = std::make_unique<RunThread>("sampler", stop_, [this] { return SamplerLoop(); });
}

EngineSource::~EngineSource() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  Wake();
  sampler_->Join();
  stop_handle_.reset();
}

void EngineSource::Wake() {
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

Status EngineSource::Admit(std::vector<data::GroupSpec> groups) {
  if (stop_.stopped()) return stop_.reason();
  std::lock_guard lock(mutex_);
  for (data::GroupSpec& spec : groups) {
    const GroupId id = spec.id;
    if (spec.samples < 1) return InternalError("group ", id.bits, " asks for ", spec.samples, " samples");
    const bool fresh =
        waiting_.emplace(id, Waiting{std::move(spec), std::max<uint64_t>(published_, 1)}).second;
    if (!fresh) return InternalError("group ", id.bits, " was admitted twice");
  }
  changed_.notify_all();
  return OkStatus();
}

void EngineSource::Rest() {
  std::unique_lock lock(mutex_);
  release_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return stop_.stopped() || closing_ || !release_; });
}

Status EngineSource::Publish(data::WeightVersionPtr version) {
  if (stop_.stopped()) return stop_.reason();
  VOLERY_ASSIGN_OR_RETURN(data::PreparedVersionPtr prepared, engine_.Prepare(std::move(version)));
  std::lock_guard lock(mutex_);
  prepared_ = Prepared{++published_, std::move(prepared)};
  changed_.notify_all();
  return OkStatus();
}

StatusOr<data::Group> EngineSource::Next(int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return stop_.stopped() || closing_ || !finished_.empty(); };
  if (timeout_ms < 0) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), done)) {
    return DeadlineError("no group was finished for ", timeout_ms, " ms");
  }
  if (stop_.stopped()) return stop_.reason();
  if (finished_.empty()) return CancelledError("the rollout source is closed");
  data::Group group = std::move(finished_.front());
  finished_.pop_front();
  lock.unlock();
  VOLERY_RETURN_IF_ERROR(FillCompletions(group));
  return group;
}

Status EngineSource::FillCompletions(data::Group& group) const {
  if (!options_.decode) return OkStatus();
  for (data::Rollout& rollout : group.rollouts) {
    std::vector<int32_t> tokens;
    for (const data::Span& span : rollout.spans) {
      if (span.origin == data::SpanOrigin::kSampled)
        tokens.insert(tokens.end(), span.tokens.begin(), span.tokens.end());
    }
    VOLERY_ASSIGN_OR_RETURN(rollout.completion, options_.decode(tokens, rollout.stop));
  }
  return OkStatus();
}

base::MetricRow EngineSource::TakeMetrics() {
  std::lock_guard lock(mutex_);
  Account(mode_);
  const double now = options_.clock->NowSeconds();
  const double elapsed = now - metrics_since_;
  const double per_second = elapsed > 0 ? 1.0 / elapsed : 0.0;
  base::MetricRow row = {{"sampler/idle", idle_s_ * per_second},
                         {"time/wait_for_weights", weights_s_},
                         {"tokens_per_s", static_cast<double>(tokens_) * per_second},
                         {"sampler/tokens", static_cast<double>(tokens_)},
                         {"sampler/sequences", static_cast<double>(most_live_)}};
  metrics_since_ = now;
  idle_s_ = weights_s_ = 0;
  tokens_ = 0;
  most_live_ = live_;
  return row;
}

std::string EngineSource::SamplerActivity() const {
  std::lock_guard lock(mutex_);
  switch (mode_) {
    case Mode::kIdle:
      return "waits for groups";
    case Mode::kWaitingForWeights:
      return Cat("holds ", waiting_.size(), " groups until a version for them is prepared");
    case Mode::kBusy:
      return Cat("decodes ", live_, " sequences");
  }
  return "";
}

// Never with mutex_: the watchdog asks for activities under its own lock.
void EngineSource::Moved(const std::shared_ptr<base::Watchdog::Entry>& entry) {
  if (entry) entry->Moved();
}

void EngineSource::Account(Mode next) {
  const double now = options_.clock->NowSeconds();
  if (mode_ == Mode::kIdle) idle_s_ += now - mode_since_;
  if (mode_ == Mode::kWaitingForWeights) weights_s_ += now - mode_since_;
  mode_ = next;
  mode_since_ = now;
}

bool EngineSource::SamplerHasWork() const {
  if (prepared_ || release_ || !engine_idle_) return true;
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& entry) { return entry.second.needs <= active_; });
}

void EngineSource::WaitForWork(std::unique_lock<std::mutex>& lock) {
  if (!SamplerHasWork()) Account(waiting_.empty() ? Mode::kIdle : Mode::kWaitingForWeights);
  while (!stop_.stopped() && !closing_ && !SamplerHasWork()) {
    changed_.wait(lock);
    const Mode mode = waiting_.empty() ? Mode::kIdle : Mode::kWaitingForWeights;
    if (mode != mode_) Account(mode);
  }
  Account(Mode::kBusy);
}

Status EngineSource::SamplerLoop() {
  if (options_.on_thread_start) options_.on_thread_start();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      WaitForWork(lock);
      if (stop_.stopped() || closing_) return OkStatus();
    }
    VOLERY_RETURN_IF_ERROR(ReleaseWeights());
    VOLERY_RETURN_IF_ERROR(TakeWeights());
    VOLERY_RETURN_IF_ERROR(SubmitWaiting());
    if (!engine_.idle()) VOLERY_RETURN_IF_ERROR(Decode());
    engine_idle_ = engine_.idle();
  }
}

Status EngineSource::ReleaseWeights() {
  {
    std::lock_guard lock(mutex_);
    if (!release_) return OkStatus();
    if (!prepared_ && engine_idle_ && waiting_.empty()) prepared_ = Prepared{active_, nullptr};
  }
  VOLERY_RETURN_IF_ERROR(TakeWeights());
  std::lock_guard lock(mutex_);
  release_ = false;
  changed_.notify_all();
  return OkStatus();
}

Status EngineSource::TakeWeights() {
  std::optional<Prepared> prepared;
  {
    std::lock_guard lock(mutex_);
    prepared = std::exchange(prepared_, std::nullopt);
  }
  if (!prepared) return OkStatus();
  VOLERY_RETURN_IF_ERROR(engine_.Update(std::move(prepared->version), options_.on_update));
  std::lock_guard lock(mutex_);
  active_ = prepared->number;
  return OkStatus();
}

Status EngineSource::SubmitWaiting() {
  for (;;) {
    const data::EngineStats stats = engine_.stats();
    if (options_.max_sequences > 0 && stats.live + stats.waiting >= options_.max_sequences) return OkStatus();
    std::optional<data::GroupSpec> spec = NextSpec();
    if (!spec) return OkStatus();
    VOLERY_RETURN_IF_ERROR(Submit(*std::move(spec)));
  }
}

std::optional<data::GroupSpec> EngineSource::NextSpec() {
  std::lock_guard lock(mutex_);
  const auto ready = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& entry) { return entry.second.needs <= active_; });
  if (ready == waiting_.end()) return std::nullopt;
  data::GroupSpec spec = std::move(ready->second.spec);
  waiting_.erase(ready);
  return spec;
}

Status EngineSource::Submit(data::GroupSpec spec) {
  data::SampleRequest request;
  request.group = spec.id;
  request.samples = spec.samples;
  request.prompt = spec.task->prompt;
  request.params = spec.params;
  Partial partial;
  partial.group.id = spec.id;
  partial.group.task = spec.task;
  partial.group.rollouts.resize(static_cast<size_t>(spec.samples));
  partial.missing = spec.samples;
  partial_.emplace(spec.id, std::move(partial));
  return Annotate(engine_.Submit(request).status(), "step ", spec.id.step(), ", task ", spec.task->id);
}

Status EngineSource::Decode() {
  VOLERY_ASSIGN_OR_RETURN(std::vector<data::FinishedSequence> finished, engine_.Step());
  Moved(sampler_entry_);
  const auto done = static_cast<int64_t>(finished.size());
  std::vector<data::Group> complete;
  for (data::FinishedSequence& sequence : finished)
    VOLERY_RETURN_IF_ERROR(Collect(std::move(sequence), complete));
  const data::EngineStats stats = engine_.stats();
  std::lock_guard lock(mutex_);
  tokens_ += stats.decoded_tokens - decoded_before_;
  decoded_before_ = stats.decoded_tokens;
  live_ = stats.live;
  most_live_ = std::max(most_live_, live_ + done);
  for (data::Group& group : complete) finished_.push_back(std::move(group));
  if (!complete.empty()) changed_.notify_all();
  return OkStatus();
}

Status EngineSource::Collect(data::FinishedSequence finished, std::vector<data::Group>& complete) {
  const GroupId id = finished.rollout.group;
  const auto found = partial_.find(id);
  const int32_t sample = finished.rollout.sample;
  if (found == partial_.end() || sample < 0 ||
      static_cast<size_t>(sample) >= found->second.group.rollouts.size()) {
    return InternalError("the engine finished sample ", sample, " of group ", id.bits,
                         ", which it was never given");
  }
  found->second.group.rollouts[static_cast<size_t>(sample)] = std::move(finished.rollout);
  if (--found->second.missing > 0) return OkStatus();
  complete.push_back(std::move(found->second.group));
  partial_.erase(found);
  return OkStatus();
}

}  // namespace volery::orchestration
