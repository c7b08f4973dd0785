#include "core/orchestration/scorer_pool.h"

#include <algorithm>

namespace volery::orchestration {
namespace {
constexpr int64_t kPollMs = 50;  // how long the end of a run may wait for an idle thread
}

ScorerPool::ScorerPool(data::RolloutSource& source, data::Scorer& scorer, int threads, Handler on_scored,
                       base::StopToken stop)
    : source_(source), scorer_(scorer), on_scored_(std::move(on_scored)), stop_(std::move(stop)) {
  stop_handle_ = stop_.OnStop([closing = closing_, stop = stop_] { closing.RequestStop(stop.reason()); });
  for (int i = 0; i < std::max(threads, 1); ++i) {
    threads_.push_back(std::make_unique<RunThread>(Cat("reward ", i), stop_, [this] { return Loop(); }));
  }
}

ScorerPool::~ScorerPool() {
  closing_.RequestStop(CancelledError("the run is over"));
  threads_.clear();
  stop_handle_.reset();
}

std::string ScorerPool::Activity() const {
  const int scoring = scoring_;
  return scoring > 0 ? Cat("score ", scoring, " groups") : "wait for finished groups";
}

Status ScorerPool::Loop() {
  while (!closing_.stopped()) {
    StatusOr<data::Group> group = source_.Next(kPollMs);
    if (group.status().code() == StatusCode::kDeadlineExceeded) continue;
    if (closing_.stopped()) break;
    VOLERY_RETURN_IF_ERROR(group.status());
    ++scoring_;
    const Status scored = scorer_.ScoreGroup(*group, closing_);
    --scoring_;
    if (closing_.stopped()) break;
    if (!scored.ok())
      return Annotate(scored, "step ", group->id.step(), ", scoring group ", group->id.index());
    VOLERY_RETURN_IF_ERROR(on_scored_(*std::move(group)));
  }
  return OkStatus();
}

}  // namespace volery::orchestration
