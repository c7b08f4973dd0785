#pragma once
// What `volery run` and `volery pretrain` share: the command as typed, the sinks of metrics, how a run ends.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/queue.h"
#include "core/config/load_recipe.h"
#include "core/observe/fan_out_sink.h"
#include "core/orchestration/run_folder.h"
#include "core/policy/model_source.h"

namespace volery::app {

// `stop` ends the run at once; `finish` lets the step in progress end.
struct StopRequests {
  base::StopToken stop, finish;
  std::shared_ptr<std::atomic<bool>> under_way = std::make_shared<std::atomic<bool>>(false);  // there is a run folder
};

// The binary with its path, so that a printed command works for who started it through bootstrap.sh.
std::string Program();
// `volery <command> words`, as a shell reads it back, without --resume and name=.
std::string CommandText(const std::string& command, const std::vector<std::string>& words);

// metrics.jsonl and the event files; on a resume cut back to the steps before the checkpoint.
StatusOr<std::unique_ptr<observe::FanOutSink>> OpenMetrics(const config::Recipe& recipe, const orchestration::RunFolder& folder,
                                                           const std::optional<orchestration::Checkpoint>& resume_from, bool resume);

// The model card of every version that the run writes: what the recipe, the model and the newest metrics say, those
// of the run's folder and what is written to `metrics` from now on.
StatusOr<std::function<std::string(VersionId)>> CardWriter(const config::LoadedRecipe& loaded, const policy::ModelSource& source,
                                                           const orchestration::RunFolder& folder, observe::FanOutSink& metrics);

// Prints how the run ended; its exit code.
int Finished(const Status& status, const orchestration::RunFolder& folder, bool interrupted, bool started);

// What the first Ctrl-C prints, and the request to finish.
void AskToFinish(const StopRequests& stops, bool quiet);

}  // namespace volery::app
