#include "core/orchestration/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/files.h"
#include "core/orchestration/rollout_writer.h"

namespace volery::orchestration {
namespace {

std::string FreeName(const std::string& runs, const std::string& name) {
  for (int64_t i = 2;; ++i) {
    std::string other = Cat(name, "-", i);
    if (!base::Exists(runs + "/" + other)) return other;
  }
}

StatusOr<std::shared_ptr<void>> TakeLock(const std::string& folder) {
  const std::string path = folder + "/lock";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return ResourceError(path, ": ", std::strerror(errno));
  std::shared_ptr<void> held(nullptr, [file](void*) { close(file); });
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    const StatusOr<std::string> owner = base::ReadFile(path);
    return PreconditionError("the run folder ", folder, " is in use by another process",
                             owner.ok() && !owner->empty() ? Cat(" (id ", *owner, ")") : "",
                             "; wait for it to end or start a run with another name");
  }
  const std::string id = Cat(getpid());
  if (ftruncate(file, 0) != 0 || pwrite(file, id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return ResourceError(path, ": ", std::strerror(errno));
  }
  return held;
}

Status Refuse(const RunFolderOptions& options, const std::string& path, const std::string& resume) {
  return ExistsError("the run folder ", path, " exists already\n  to go on with that run: ", resume,
                     "\n  to start another one:   ", options.command,
                     " name=", FreeName(options.runs, options.name));
}

}  // namespace

StatusOr<RunFolder> RunFolder::Open(const RunFolderOptions& options) {
  const bool plain = !options.name.empty() && options.name != "." && options.name != ".." &&
                     options.name.find('/') == std::string::npos;
  if (!plain)
    return InvalidError("name = \"", options.name,
                        "\" can't be a folder's name; use letters, digits, '-' and '_'");
  const std::string path = options.runs + "/" + options.name;
  const std::string resume = Cat(options.command, " name=", options.name, " --resume");
  const bool exists = base::Exists(path);
  if (exists && !options.resume) return Refuse(options, path, resume);
  if (!exists && options.resume) {
    return NotFoundError("there is no run folder ", path, " to resume; start the run with: ", options.command,
                         " name=", options.name);
  }
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(path));
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<void> lock, TakeLock(path));
  RunFolder folder(path, resume, options.keep, std::move(lock));
  for (const std::string& part : {folder.events(), folder.rollouts(), folder.checkpoints(), folder.logs()}) {
    VOLERY_RETURN_IF_ERROR(base::MakeFolders(part));
  }
  return folder;
}

StatusOr<std::optional<Checkpoint>> RunFolder::PrepareResume() const {
  CheckpointStore store(checkpoints(), keep_);
  VOLERY_ASSIGN_OR_RETURN(std::optional<Checkpoint> newest, store.Newest());
  VOLERY_ASSIGN_OR_RETURN(const std::vector<Checkpoint> all, store.List());
  if (!newest && !all.empty()) {
    return DataLossError("no checkpoint in ", checkpoints(), " can be used, the newest because: ",
                         Message(VerifyCheckpoint(all.back().path)),
                         "; nothing was changed. Put the files back as they were saved, or start a run with "
                         "another name from that folder (model.path)");
  }
  const StepId step = newest ? newest->step : StepId(-1);
  VOLERY_RETURN_IF_ERROR(store.RemoveAfter(step));
  VOLERY_RETURN_IF_ERROR(CutRollouts(rollouts(), newest ? newest->step : StepId(0)));
  return newest;
}

}  // namespace volery::orchestration
