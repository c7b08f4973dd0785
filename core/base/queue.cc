#include "core/base/queue.h"

#include <atomic>
#include <map>

namespace volery::base {

struct StopToken::State {
  std::atomic<bool> stopped = false;
  std::mutex reason_mutex;
  Status reason;
  // Held while callbacks run, so that unregistering waits for a running one. Not needed for stopped() and reason(),
  // which waiters call under locks that callbacks take.
  std::recursive_mutex callbacks_mutex;
  int64_t next_id = 0;
  std::map<int64_t, std::function<void()>> callbacks;
};

StopToken::StopToken() : state_(std::make_shared<State>()) {}

void StopToken::RequestStop(Status reason) const {
  std::lock_guard callbacks(state_->callbacks_mutex);
  {
    std::lock_guard lock(state_->reason_mutex);
    if (state_->stopped) return;
    state_->reason = std::move(reason);
    state_->stopped = true;
  }
  while (!state_->callbacks.empty()) {
    auto node = state_->callbacks.extract(state_->callbacks.begin());
    node.mapped()();
  }
}

bool StopToken::stopped() const { return state_->stopped; }

Status StopToken::reason() const {
  std::lock_guard lock(state_->reason_mutex);
  return state_->reason;
}

std::shared_ptr<void> StopToken::OnStop(std::function<void()> callback) const {
  std::lock_guard lock(state_->callbacks_mutex);
  if (state_->stopped) {
    callback();
    return nullptr;
  }
  const int64_t id = state_->next_id++;
  state_->callbacks.emplace(id, std::move(callback));
  return std::shared_ptr<void>(static_cast<void*>(state_.get()), [state = state_, id](void*) {
    std::lock_guard guard(state->callbacks_mutex);
    state->callbacks.erase(id);
  });
}

}  // namespace volery::base
