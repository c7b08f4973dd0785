#include "core/orchestration/rollout_writer.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/base/files.h"
#include "core/text/utf8.h"

namespace volery::orchestration {
namespace {

constexpr const char* kPrefix = "step_";
constexpr const char* kTable = ".parquet";
constexpr const char* kRewards = ".rewards.jsonl";

std::optional<int64_t> StepOfFile(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = -1;
  const char* begin = name.data() + std::string_view(kPrefix).size();
  const auto parsed = std::from_chars(begin, name.data() + name.size(), step);
  if (parsed.ec != std::errc() || step < 0) return std::nullopt;
  return step;
}

std::vector<const data::Group*> InOrder(const StepGroups& groups) {
  std::vector<const data::Group*> all;
  for (const data::Group& group : groups.train) all.push_back(&group);
  for (const data::Group& group : groups.rest) all.push_back(&group);
  std::sort(all.begin(), all.end(), [](const data::Group* a, const data::Group* b) { return a->id < b->id; });
  return all;
}

std::string RewardLine(const data::Group& group, const data::Rollout& rollout) {
  nlohmann::json parts = nlohmann::json::object();
  for (const data::RewardComponent& part : rollout.score.components) parts[part.name] = part.value;
  const nlohmann::json line = {{"group_id", group.id.bits},
                               {"sample", rollout.sample},
                               {"reward", rollout.score.total},
                               {"components", std::move(parts)}};
  return line.dump() + "\n";
}

}  // namespace

std::string RolloutPath(const std::string& folder, StepId step) {
  return Cat(folder, "/", kPrefix, step, kTable);
}
std::string RewardPath(const std::string& folder, StepId step) {
  return Cat(folder, "/", kPrefix, step, kRewards);
}

formats::RolloutRow ToRow(const data::Group& group, const data::Rollout& rollout, double advantage,
                          uint64_t seed) {
  formats::RolloutRow row;
  const std::vector<int32_t> tokens = rollout.Tokens();
  const std::vector<float> logprobs = rollout.Logprobs();
  const std::vector<int64_t> versions = rollout.Versions();
  const auto prompt = static_cast<std::ptrdiff_t>(rollout.PromptLength());
  row.input_tokens.assign(tokens.begin(), tokens.begin() + prompt);
  row.output_tokens.assign(tokens.begin() + prompt, tokens.end());
  row.input_logprobs.emplace(row.input_tokens.size(), 0.0f);
  row.output_logprobs.emplace(logprobs.begin() + prompt, logprobs.end());
  row.versions.assign(versions.begin() + prompt, versions.end());
  row.prompt = text::ReplaceInvalidUtf8(group.task->prompt_text);
  row.problem_id = text::ReplaceInvalidUtf8(group.task->id);
  row.completion = text::ReplaceInvalidUtf8(rollout.completion);
  row.advantages = static_cast<float>(advantage);
  row.rewards = static_cast<float>(rollout.score.total);
  row.task_rewards = row.rewards;
  row.step = static_cast<int32_t>(rollout.OldestVersion().value);
  row.task_type = text::ReplaceInvalidUtf8(group.task->type);
  row.seed = static_cast<int64_t>(seed);
  row.temperature = rollout.temperature;
  row.group_id = group.id.bits;
  row.sample = rollout.sample;
  row.stop_reason = data::StopReasonName(rollout.stop);
  return row;
}

Status RolloutFileWriter::Write(const StepGroups& groups) {
  formats::RolloutTable table;
  std::string rewards;
  for (const data::Group* group : InOrder(groups)) {
    for (size_t i = 0; i < group->rollouts.size(); ++i) {
      const double advantage = i < group->advantages.size() ? group->advantages[i] : 0.0;
      table.push_back(ToRow(*group, group->rollouts[i], advantage, seed_));
      rewards += RewardLine(*group, group->rollouts[i]);
    }
  }
  VOLERY_ASSIGN_OR_RETURN(const std::string bytes, formats::EncodeRollouts(table));
  VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(RewardPath(folder_, groups.step), rewards));
  return base::WriteFileAtomic(RolloutPath(folder_, groups.step), bytes);
}

Status CutRollouts(const std::string& folder, StepId step) {
  if (!base::Exists(folder)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder));
  for (const std::string& name : names) {
    const std::optional<int64_t> found = StepOfFile(name);
    if (found && *found >= step.value) VOLERY_RETURN_IF_ERROR(base::RemoveAll(folder + "/" + name));
  }
  return OkStatus();
}

StatusOr<std::vector<std::string>> SampledCompletions(const std::string& folder) {
  std::set<std::string> distinct;
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder));
  for (const std::string& name : names) {
    if (!StepOfFile(name) || !name.ends_with(kTable)) continue;
    VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<base::MappedFile> file,
                            base::MappedFile::Open(folder + "/" + name));
    VOLERY_ASSIGN_OR_RETURN(formats::RolloutTable table,
                            formats::DecodeRollouts(file->bytes(), file->path()));
    for (formats::RolloutRow& row : table) distinct.insert(std::move(row.completion));
  }
  return std::vector<std::string>(distinct.begin(), distinct.end());
}

}  // namespace volery::orchestration
