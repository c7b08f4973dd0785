#pragma once
// Evaluation on held-out tasks: k samples a task, through the same source and rewards as training, all with
// one weight version (the loop publishes none while an evaluation runs). Also the score of the best constant
// answer.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/metrics.h"
#include "core/base/queue.h"
#include "core/data/seams.h"

namespace volery::orchestration {

struct EvalOptions {
  std::string name = "held_out";
  int64_t every = 0;       // steps; 0: only at the start and the end
  int32_t samples = 1;     // k
  double solved_at = 1.0;  // a sample with at least this reward counts as solved
  data::SamplingParams sampling;
  int64_t examples = 4;  // kept for printing

  bool Solves(double reward) const;
};

struct EvalExample {
  std::string prompt, completion, answer;
  double reward = 0;
};

struct EvalResult {
  VersionId version;
  int64_t tasks = 0, samples = 0, failed = 0;  // failed: their reward failed, they count nowhere
  double average = 0;                          // avg@k: mean reward
  double passed = 0;                           // pass@k: share of tasks with at least one solved sample
  double solved = 0;                           // share of samples that are solved
  double mean_length = 0, truncated = 0;       // sampled tokens; share stopped by length
  std::vector<EvalExample> examples;           // of the first tasks

  base::MetricRow Metrics(
      const EvalOptions& options) const;  // eval/<name>/avg@k, pass@k, seq_len, truncated, failed
};

class Evaluator {
 public:
  Evaluator(EvalOptions options, std::shared_ptr<const data::TaskSource> held_out,
            data::RolloutSource& source, base::StopToken stop);

  // Samples every held-out task and waits. `round` is kEvalRound or kWarmupRound and `number` keys the noise
  // (the version, or the warm-up step). Nothing, if `finish` was asked to stop before the end. `tick` is
  // called while it waits, a few times a second. One call at a time.
  StatusOr<std::optional<EvalResult>> Run(VersionId version, int round, int64_t number,
                                          base::StopToken finish, const std::function<void()>& tick);
  // Takes a scored group of an evaluation, from any thread; one that no running evaluation asked for is
  // ignored.
  Status OnScored(data::Group group);
  struct Progress {
    int64_t scored = 0, asked = 0;
  };
  Progress progress() const;

 private:
  StatusOr<std::vector<data::GroupSpec>> Specs(int round, int64_t number) const;
  EvalResult Summarise(VersionId version, const std::vector<data::Group>& groups) const;

  const EvalOptions options_;
  const std::shared_ptr<const data::TaskSource> held_out_;
  data::RolloutSource& source_;
  base::StopToken stop_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<data::Group> groups_;  // by task number
  std::vector<GroupId> asked_;
  int64_t missing_ = 0;
  std::shared_ptr<void> stop_handle_;
};

struct ConstantAnswer {
  std::string text;
  double score = 0;  // mean reward when every task is answered with `text`
};

// Scores each candidate as the answer to every task and returns the best (the first of equals). A candidate's
// failed rewards count as nothing won. Errors: no candidates; those of the scorer.
StatusOr<ConstantAnswer> BestConstantAnswer(const std::vector<std::string>& candidates,
                                            const data::TaskSource& tasks, data::Scorer& scorer,
                                            base::StopToken stop);

}  // namespace volery::orchestration
