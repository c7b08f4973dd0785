#include "core/orchestration/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/base/log.h"

namespace volery::orchestration {
namespace {

constexpr const char* kMarker = "complete";
constexpr const char* kCard = "README.md";
constexpr const char* kPrefix = "step_";
constexpr const char* kDamaged = ".damaged";

// Files below `path` relative to it, sorted, without the marker and the model card, which people edit and no
// resume reads; the folders themselves are appended to `folders`.
Status ListFiles(const std::string& path, const std::string& below, std::vector<std::string>& files,
                 std::vector<std::string>& folders) {
  const std::string here = below.empty() ? path : path + "/" + below;
  folders.push_back(here);
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(here));
  for (const std::string& name : names) {
    const std::string relative = below.empty() ? name : below + "/" + name;
    if (base::IsFolder(path + "/" + relative)) {
      VOLERY_RETURN_IF_ERROR(ListFiles(path, relative, files, folders));
    } else if (relative != kMarker && relative != kCard) {
      files.push_back(relative);
    }
  }
  return OkStatus();
}

StatusOr<nlohmann::json> Manifest(const std::string& path, bool sync) {
  std::vector<std::string> files, folders;
  VOLERY_RETURN_IF_ERROR(ListFiles(path, "", files, folders));
  nlohmann::json manifest = nlohmann::json::object();
  for (const std::string& file : files) {
    const std::string full = path + "/" + file;
    if (sync) VOLERY_RETURN_IF_ERROR(base::FsyncPath(full));
    VOLERY_ASSIGN_OR_RETURN(const uint64_t size, base::FileSize(full));
    VOLERY_ASSIGN_OR_RETURN(std::string hash, base::Sha256OfFile(full));
    manifest[file] = {{"bytes", size}, {"sha256", std::move(hash)}};
  }
  for (const std::string& folder : folders) {
    if (sync) VOLERY_RETURN_IF_ERROR(base::FsyncPath(folder));
  }
  return manifest;
}

std::optional<int64_t> StepOf(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = -1;
  const char* begin = name.data() + std::string_view(kPrefix).size();
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(begin, end, step);
  if (parsed.ec != std::errc() || parsed.ptr != end || step < 0) return std::nullopt;
  return step;
}

Status SaveAdvice(const Status& status, const std::string& folder) {
  return Annotate(status, "saving the checkpoint ", folder,
                  " (older checkpoints are untouched; free disk space or lower checkpoint.keep, then go on "
                  "with --resume)");
}

}  // namespace

std::string CheckpointStore::PathOf(StepId step) const {
  return Cat(folder_, "/", kPrefix, step);
}

Status CheckpointStore::Save(StepId step, const std::function<Status(const std::string& folder)>& fill) {
  const std::string path = PathOf(step), temporary = path + ".tmp";
  const auto write = [&]() -> Status {
    VOLERY_RETURN_IF_ERROR(base::RemoveAll(temporary));
    VOLERY_RETURN_IF_ERROR(base::MakeFolders(temporary));
    VOLERY_RETURN_IF_ERROR(fill(temporary));
    VOLERY_ASSIGN_OR_RETURN(const nlohmann::json manifest, Manifest(temporary, true));
    VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(temporary + "/" + kMarker, manifest.dump(1) + "\n"));
    if (base::Exists(path)) VOLERY_RETURN_IF_ERROR(base::RemoveAll(path));
    VOLERY_RETURN_IF_ERROR(base::RenamePath(temporary, path));
    return base::FsyncPath(folder_);
  };
  if (Status status = write(); !status.ok()) {
    base::RemoveAll(temporary).IgnoreError();
    return SaveAdvice(status, path);
  }
  return Prune();
}

StatusOr<std::vector<Checkpoint>> CheckpointStore::List() const {
  std::vector<Checkpoint> found;
  if (!base::Exists(folder_)) return found;
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder_));
  for (const std::string& name : names) {
    if (const std::optional<int64_t> step = StepOf(name))
      found.push_back({StepId(*step), folder_ + "/" + name});
  }
  std::sort(found.begin(), found.end(),
            [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return found;
}

Status CheckpointStore::Prune() {
  VOLERY_ASSIGN_OR_RETURN(std::vector<Checkpoint> found, List());
  const int64_t excess = static_cast<int64_t>(found.size()) - std::max<int64_t>(keep_, 1);
  for (int64_t i = 0; i < excess; ++i)
    VOLERY_RETURN_IF_ERROR(base::RemoveAll(found[static_cast<size_t>(i)].path));
  return OkStatus();
}

StatusOr<std::optional<Checkpoint>> CheckpointStore::Newest() const {
  VOLERY_ASSIGN_OR_RETURN(std::vector<Checkpoint> found, List());
  for (auto candidate = found.rbegin(); candidate != found.rend(); ++candidate) {
    const Status good = VerifyCheckpoint(candidate->path);
    if (good.ok()) return std::optional<Checkpoint>(*candidate);
    base::LogWarning("leaving out a damaged checkpoint: ", Message(good));
  }
  return std::optional<Checkpoint>();
}

Status CheckpointStore::RemoveAfter(StepId step) {
  if (!base::Exists(folder_)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder_));
  for (const std::string& name : names) {
    const std::optional<int64_t> found = StepOf(name);
    const std::string path = folder_ + "/" + name;
    if (name.starts_with(kPrefix) && name.ends_with(".tmp")) VOLERY_RETURN_IF_ERROR(base::RemoveAll(path));
    if (!found || *found <= step.value) continue;
    VOLERY_RETURN_IF_ERROR(base::RemoveAll(path + kDamaged));
    VOLERY_RETURN_IF_ERROR(base::RenamePath(path, path + kDamaged));
  }
  return OkStatus();
}

Status VerifyCheckpoint(const std::string& path) {
  const StatusOr<std::string> marker = base::ReadFile(path + "/" + kMarker);
  if (!marker.ok()) return Annotate(marker.status(), path, " has no marker of a finished save");
  const nlohmann::json stated = nlohmann::json::parse(*marker, nullptr, false);
  if (!stated.is_object()) return DataLossError(path, "/", kMarker, " is no JSON object");
  VOLERY_ASSIGN_OR_RETURN(const nlohmann::json actual, Manifest(path, false));
  for (const auto& [file, facts] : stated.items()) {
    if (!actual.contains(file)) return DataLossError(path, "/", file, " is missing");
    if (actual[file] != facts) return DataLossError(path, "/", file, " differs from what was saved");
  }
  return OkStatus();
}

std::string LoopState::ToJson() const {
  const nlohmann::json state = {{"step", step.value},
                                {"warmup_steps", warmup_steps},
                                {"warmup_done", warmup_done},
                                {"warmup_loss", warmup_loss},
                                {"warmup_success", warmup_success},
                                {"skipped_in_a_row", skipped_in_a_row},
                                {"solved_in_a_row", solved_in_a_row},
                                {"skipped", skipped},
                                {"rollouts", rollouts},
                                {"first_eval", first_eval ? nlohmann::json(*first_eval) : nlohmann::json()},
                                {"seed", seed},
                                {"groups_per_step", groups_per_step},
                                {"tasks", tasks}};
  return state.dump(1) + "\n";
}

StatusOr<LoopState> LoopState::FromJson(const std::string& text, const std::string& path) {
  LoopState state;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    state.step = StepId(json.at("step").get<int64_t>());
    state.warmup_steps = json.at("warmup_steps").get<int64_t>();
    state.warmup_done = json.at("warmup_done").get<bool>();
    state.skipped_in_a_row = json.at("skipped_in_a_row").get<int64_t>();
    state.solved_in_a_row = json.at("solved_in_a_row").get<int64_t>();
    state.warmup_loss = json.at("warmup_loss").get<double>();
    state.warmup_success = json.at("warmup_success").get<double>();
    state.skipped = json.at("skipped").get<int64_t>();
    state.rollouts = json.at("rollouts").get<int64_t>();
    if (!json.at("first_eval").is_null()) state.first_eval = json.at("first_eval").get<double>();
    state.seed = json.at("seed").get<uint64_t>();
    state.groups_per_step = json.at("groups_per_step").get<int64_t>();
    state.tasks = json.at("tasks").get<int64_t>();
  } catch (const nlohmann::json::exception& error) {
    return DataLossError(path, " is damaged: ", error.what());
  }
  return state;
}

std::string TrainerStateFolder(const std::string& checkpoint) {
  return checkpoint + "/trainer";
}
std::string LoopStateFile(const std::string& checkpoint) {
  return checkpoint + "/loop.json";
}

StatusOr<Checkpoint> SaveTraining(CheckpointStore& store, StepId step, data::StatefulTrainer& trainer,
                                  data::ModelWriter& models, const std::string& loop_json) {
  VOLERY_RETURN_IF_ERROR(store.Save(step, [&](const std::string& folder) -> Status {
    VOLERY_ASSIGN_OR_RETURN(const data::WeightVersionPtr version, trainer.Snapshot());
    VOLERY_RETURN_IF_ERROR(models.Write(folder, *version));
    VOLERY_RETURN_IF_ERROR(base::MakeFolders(TrainerStateFolder(folder)));
    VOLERY_RETURN_IF_ERROR(trainer.SaveState(TrainerStateFolder(folder)));
    return base::WriteFileAtomic(LoopStateFile(folder), loop_json);
  }));
  return Checkpoint{step, store.PathOf(step)};
}

}  // namespace volery::orchestration
