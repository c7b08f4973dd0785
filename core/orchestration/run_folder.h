#pragma once
// The run folder <runs>/<name>/ and who may use it: an existing run is refused unless it is to be resumed,
// and only one process at a time holds it. Nothing is written before Open succeeds.
//
//   VOLERY_ASSIGN_OR_RETURN(RunFolder folder, RunFolder::Open({.runs = "runs", .name = "quickstart", ...}));

#include <memory>
#include <optional>
#include <string>

#include "core/base/ids.h"
#include "core/base/status.h"
#include "core/orchestration/checkpoint.h"

namespace volery::orchestration {

struct RunFolderOptions {
  std::string runs, name;
  bool resume = false;
  std::string command;  // to start this run as typed, e.g. "volery run configs/quickstart.toml", without
                        // --resume and name=
  int64_t keep = 2;     // checkpoints
};

class RunFolder {
 public:
  // AlreadyExists: the run exists and isn't to be resumed; the message has both ways on as full commands.
  // NotFound: there is nothing to resume. FailedPrecondition: another process (named by its id) is working in
  // it.
  static StatusOr<RunFolder> Open(const RunFolderOptions& options);

  std::string path() const { return path_; }
  std::string recipe() const { return path_ + "/recipe.toml"; }
  std::string metrics() const { return path_ + "/metrics.jsonl"; }
  std::string events() const { return path_ + "/events"; }
  std::string rollouts() const { return path_ + "/rollouts"; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string logs() const { return path_ + "/logs"; }
  std::string resume_command() const { return resume_command_; }

  // Where to go on: the newest good checkpoint, or nothing (start at step 0). Removes what lies behind it:
  // later or unfinished checkpoints and the rollouts of steps that will be done again. Metrics and events are
  // cut back by who writes them, to lines of steps below the checkpoint's.
  StatusOr<std::optional<Checkpoint>> PrepareResume() const;

 private:
  RunFolder(std::string path, std::string resume_command, int64_t keep, std::shared_ptr<void> lock)
      : path_(std::move(path)),
        resume_command_(std::move(resume_command)),
        keep_(keep),
        lock_(std::move(lock)) {}
  std::string path_, resume_command_;
  int64_t keep_;
  std::shared_ptr<void> lock_;  // held until the last copy ends; the system frees it when the process dies
};

}  // namespace volery::orchestration
