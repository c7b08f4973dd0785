#pragma once
// The reward threads: each takes a finished group from the source, scores it and hands it on, while sampling
// goes on. Nothing piles up here: what can be in flight is bounded by admission.

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/queue.h"
#include "core/data/seams.h"
#include "core/orchestration/thread.h"

namespace volery::orchestration {

class ScorerPool {
 public:
  // Called by any of the threads with a scored group; an error stops the run.
  using Handler = std::function<Status(data::Group)>;

  // Starts `threads` (at least 1). `source` and `scorer` must outlive this; errors stop the run through
  // `stop`.
  ScorerPool(data::RolloutSource& source, data::Scorer& scorer, int threads, Handler on_scored,
             base::StopToken stop);
  // Waits for the calls in progress. A scorer that may take long must watch `stop`.
  ~ScorerPool();

  // "score 2 groups", for the watchdog. Thread-safe.
  std::string Activity() const;

 private:
  Status Loop();

  data::RolloutSource& source_;
  data::Scorer& scorer_;
  const Handler on_scored_;
  base::StopToken stop_;
  base::StopToken closing_;  // ends scoring in progress at the end of the run
  std::shared_ptr<void> stop_handle_;
  std::atomic<int> scoring_ = 0;
  std::vector<std::unique_ptr<RunThread>> threads_;
};

}  // namespace volery::orchestration
