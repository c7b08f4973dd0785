#include "core/plugin/reward_pool.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "core/base/log.h"

namespace volery::plugin {
namespace {

using Clock = std::chrono::steady_clock;

// A request on its way: filled job by job, handed over once.
struct Ticket {
  std::promise<RewardPool::Results> promise;
  std::vector<RewardResult> results;
  size_t open_jobs = 0;
  bool done = false;

  void Fail(const Status& status) {
    if (!std::exchange(done, true)) promise.set_value(status);
  }
  void Complete() {
    if (!std::exchange(done, true)) promise.set_value(std::move(results));
  }
};

// One call of a plugin: a sample, or a whole group.
struct Job {
  Job(std::vector<RewardSample> samples, bool whole_group) : call(std::move(samples), whole_group) {}
  std::shared_ptr<RewardPlugin> plugin;
  std::shared_ptr<Ticket> ticket;
  RewardCall call;
  size_t first = 0;  // of the ticket's results
  int64_t limit_ms = 0;
  std::optional<Clock::time_point> give_up;  // running in this process: when its thread is left behind
};

}  // namespace

// Shared with every worker, so that one left behind by a dead pool touches nothing freed.
struct RewardPool::State : std::enable_shared_from_this<State> {
  explicit State(const RewardPoolOptions& o) : options(o) {}

  const RewardPoolOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> queue;
  std::map<int64_t, std::shared_ptr<Job>> running;  // by worker
  std::map<int64_t, std::thread> workers;
  std::thread monitor;
  int64_t next_worker = 0;
  int abandoned = 0;
  std::map<const RewardPlugin*, int> crashes_in_a_row;
  bool closing = false;
  Status failure;  // not OK: why everything ends

  void StartWorker();
  void Work(int64_t worker);
  void Watch();
  void Deliver(Job& job, std::vector<RewardResult> results);
  void Account(const Job& job, const RewardPlugin::Outcome& outcome);
  void Abandon(int64_t worker, Job& job);
  void Fail(const Status& status);
  void Enqueue(RewardRequest request, const std::shared_ptr<Ticket>& ticket);
};

// All with `mutex` held, except Work and Watch.

void RewardPool::State::StartWorker() {
  const int64_t worker = next_worker++;
  workers.emplace(worker, std::thread([self = shared_from_this(), worker] { self->Work(worker); }));
}

void RewardPool::State::Fail(const Status& status) {
  if (failure.ok()) failure = status;
  for (const auto& [worker, job] : running) {
    job->call.Cancel();
    job->ticket->Fail(failure);
  }
  for (const std::shared_ptr<Job>& job : queue) job->ticket->Fail(failure);
  queue.clear();
  changed.notify_all();
}

void RewardPool::State::Deliver(Job& job, std::vector<RewardResult> results) {
  Ticket& ticket = *job.ticket;
  if (ticket.done) return;
  for (size_t i = 0; i < results.size(); ++i) ticket.results[job.first + i] = std::move(results[i]);
  if (--ticket.open_jobs == 0) ticket.Complete();
}

void RewardPool::State::Account(const Job& job, const RewardPlugin::Outcome& outcome) {
  int& in_a_row = crashes_in_a_row[job.plugin.get()];
  in_a_row = outcome.crashed ? in_a_row + 1 : 0;
  if (in_a_row < options.max_crashes_in_a_row || !failure.ok()) return;
  Fail(InternalError("plugin ", job.plugin->info().path, ": its child process died ", in_a_row,
                     " times in a row; the last time: ", outcome.message));
}

void RewardPool::State::Abandon(int64_t worker, Job& job) {
  const std::string& path = job.plugin->info().path;
  ++abandoned;
  workers.at(worker).detach();
  workers.erase(worker);
  job.call.Cancel();
  Deliver(job, job.call.Finish(data::RewardStatus::kTimeout,
                               Cat("no answer within ", job.limit_ms, " ms; its thread was left behind")));
  if (abandoned <= options.max_abandoned) {
    base::LogWarning("plugin ", path, ": a reward did not return within ", job.limit_ms,
                     " ms; its thread was left behind (", abandoned, " of at most ", options.max_abandoned,
                     "). Set isolate = true for this reward, or kMayHang = true in the plugin");
    return StartWorker();
  }
  Fail(DeadlineError(
      "plugin ", path, ": rewards never returned ", abandoned, " times, each within ", job.limit_ms,
      " ms. Set isolate = true for this reward, so that it runs in a child process that can be killed"));
}

void RewardPool::State::Work(int64_t worker) {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return closing || !queue.empty(); });
    if (queue.empty()) return;
    const std::shared_ptr<Job> job = queue.front();
    queue.pop_front();
    job->call.Start(job->limit_ms);
    if (!job->plugin->isolated())
      job->give_up = Clock::now() + std::chrono::milliseconds(job->limit_ms + options.grace_ms);
    running[worker] = job;
    changed.notify_all();
    lock.unlock();
    const RewardPlugin::Outcome outcome = job->plugin->Score(job->call, job->limit_ms, options.grace_ms);
    const bool late = !job->plugin->isolated() && job->call.cancelled();
    lock.lock();
    if (running.erase(worker) == 0) return;  // left behind: a new thread has this one's place
    Account(*job, outcome);
    Deliver(*job, job->call.Finish(late ? data::RewardStatus::kTimeout : outcome.status, outcome.message));
    changed.notify_all();
  }
}

void RewardPool::State::Watch() {
  std::unique_lock lock(mutex);
  while (!closing) {
    std::optional<Clock::time_point> next;
    for (const auto& [worker, job] : running) {
      if (job->give_up && (!next || *job->give_up < *next)) next = job->give_up;
    }
    if (!next) {
      changed.wait(lock);
      continue;
    }
    if (changed.wait_until(lock, *next) == std::cv_status::no_timeout) continue;
    for (auto it = running.begin(); it != running.end() && !closing;) {
      if (!it->second->give_up || *it->second->give_up > Clock::now()) {
        ++it;
        continue;
      }
      const int64_t worker = it->first;
      const std::shared_ptr<Job> job = it->second;
      it = running.erase(it);
      Abandon(worker, *job);
    }
  }
}

void RewardPool::State::Enqueue(RewardRequest request, const std::shared_ptr<Ticket>& ticket) {
  const bool group = request.plugin->wants_group();
  const size_t count = request.samples.size();
  ticket->results.resize(count);
  ticket->open_jobs = group ? 1 : count;
  for (size_t i = 0; i < ticket->open_jobs; ++i) {
    std::vector<RewardSample> samples;
    if (group)
      samples = std::move(request.samples);
    else
      samples.push_back(std::move(request.samples[i]));
    auto job = std::make_shared<Job>(std::move(samples), group);
    job->plugin = request.plugin;
    job->ticket = ticket;
    job->first = i;
    job->limit_ms = request.timeout_ms * static_cast<int64_t>(group ? count : 1);
    queue.push_back(std::move(job));
  }
}

RewardPool::RewardPool(const RewardPoolOptions& options, base::StopToken stop)
    : state_(std::make_shared<State>(options)) {
  {
    std::lock_guard lock(state_->mutex);
    for (int i = 0; i < std::max(1, options.threads); ++i) state_->StartWorker();
    state_->monitor = std::thread([state = state_] { state->Watch(); });
  }
  on_stop_ = stop.OnStop([state = state_, stop] {
    std::lock_guard lock(state->mutex);
    state->Fail(stop.reason());
  });
}

RewardPool::~RewardPool() {
  on_stop_.reset();
  std::unique_lock lock(state_->mutex);
  state_->Fail(CancelledError("the reward pool was closed"));
  state_->closing = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, std::chrono::milliseconds(state_->options.grace_ms),
                           [&] { return state_->running.empty(); });
  for (const auto& [worker, job] : state_->running) {
    if (job->plugin->isolated()) continue;  // ends by itself: its child is killed
    state_->workers.at(worker).detach();
    state_->workers.erase(worker);
  }
  std::map<int64_t, std::thread> workers = std::move(state_->workers);
  state_->workers.clear();
  lock.unlock();
  for (auto& [worker, thread] : workers) thread.join();
  state_->monitor.join();
}

std::future<RewardPool::Results> RewardPool::Submit(RewardRequest request) {
  auto ticket = std::make_shared<Ticket>();
  std::future<Results> future = ticket->promise.get_future();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(
      lock, [&] { return state_->queue.size() < state_->options.max_queued || !state_->failure.ok(); });
  if (!state_->failure.ok()) {
    ticket->Fail(state_->failure);
  } else if (request.samples.empty()) {
    ticket->Complete();
  } else {
    state_->Enqueue(std::move(request), ticket);
    state_->changed.notify_all();
  }
  return future;
}

int RewardPool::abandoned() const {
  std::lock_guard lock(state_->mutex);
  return state_->abandoned;
}

}  // namespace volery::plugin
