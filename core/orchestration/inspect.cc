#include "core/orchestration/inspect.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/base/jsonl.h"
#include "core/formats/rollout_file.h"
#include "core/orchestration/rollout_writer.h"

namespace volery::orchestration {
namespace {

using Rows = std::vector<const formats::RolloutRow*>;
using RewardParts = std::map<std::pair<uint64_t, int32_t>, nlohmann::json>;

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// One line, control characters escaped as JSON does it.
std::string OneLine(const std::string& text) {
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return quoted;
}

// Files from elsewhere may lack them, so nothing here is an error.
StatusOr<RewardParts> ReadParts(const std::string& path) {
  RewardParts parts;
  if (!base::Exists(path)) return parts;
  VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(path, [&](const base::JsonLine& line) -> Status {
    const auto& value = line.value;
    const bool good = value.is_object() && value.contains("group_id") &&
                      value["group_id"].is_number_unsigned() && value.contains("sample") &&
                      value["sample"].is_number_integer();
    if (!good) return DataLossError(line.where, ": no line of reward parts");
    parts[{value["group_id"].get<uint64_t>(), value["sample"].get<int32_t>()}] =
        value.value("components", nlohmann::json());
    return OkStatus();
  }));
  return parts;
}

Status NoSuchStep(const std::string& folder, StepId step) {
  std::string others;
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> names, base::ListFolder(folder));
  for (const std::string& name : names) {
    if (name.ends_with(".parquet")) others += " " + name;
  }
  return NotFoundError(RolloutPath(folder, step), ": there are no rollouts of step ", step,
                       "; the run has:", others.empty() ? " none" : others);
}

std::map<uint64_t, Rows> ByGroup(const formats::RolloutTable& table) {
  std::map<uint64_t, Rows> groups;
  for (const formats::RolloutRow& row : table) groups[row.group_id].push_back(&row);
  return groups;
}

std::string Overview(const std::map<uint64_t, Rows>& groups) {
  std::string out;
  int64_t number = 0;
  for (const auto& [bits, rows] : groups) {
    double sum = 0;
    bool trained = false;
    for (const formats::RolloutRow* row : rows) {
      sum += row->rewards;
      trained |= row->advantages != 0;
    }
    const GroupId id{bits};
    out += Cat("group ", number++, "  round ", id.round(), "  task ", rows.front()->problem_id, "  samples ",
               rows.size(), "  reward ", Fixed(sum / static_cast<double>(rows.size()), 3),
               trained ? "  trained" : "  not trained", "  ", OneLine(rows.front()->prompt), "\n");
  }
  return out;
}

std::string Parts(const RewardParts& parts, const formats::RolloutRow& row) {
  const auto found = parts.find({row.group_id, row.sample});
  if (found == parts.end() || !found->second.is_object()) return "";
  std::string out;
  for (const auto& [name, value] : found->second.items()) {
    if (value.is_number()) out += Cat("  ", name, " ", Fixed(value.get<double>(), 3));
  }
  return out;
}

std::string Tokens(const formats::RolloutRow& row, const InspectOptions& options) {
  std::string out;
  for (size_t i = 0; i < row.output_tokens.size(); ++i) {
    out += Cat("    ", row.output_tokens[i]);
    if (row.output_logprobs && i < row.output_logprobs->size())
      out += Cat("  log-prob ", Fixed((*row.output_logprobs)[i], 4));
    if (i < row.versions.size()) out += Cat("  version ", row.versions[i]);
    if (options.token_text) out += Cat("  ", OneLine(options.token_text(row.output_tokens[i])));
    out += "\n";
  }
  return out;
}

std::string Siblings(const Rows& rows, const RewardParts& parts, const InspectOptions& options) {
  const formats::RolloutRow& first = *rows.front();
  const GroupId id{first.group_id};
  std::string out = Cat("step ", id.step(), ", refill round ", id.round(), ", group ", id.index(), ", task ",
                        first.problem_id, first.task_type.empty() ? "" : " (" + first.task_type + ")",
                        "\nprompt, ", first.input_tokens.size(), " tokens:\n", first.prompt, "\n");
  for (const formats::RolloutRow* row : rows) {
    out +=
        Cat("\nsample ", row->sample, ": reward ", Fixed(row->rewards, 3), ", advantage ",
            Fixed(row->advantages, 3), ", ", row->output_tokens.size(), " tokens, ", row->stop_reason, "\n",
            Parts(parts, *row).empty() ? "" : " ", Parts(parts, *row), Parts(parts, *row).empty() ? "" : "\n",
            "  ", OneLine(row->completion), "\n", Tokens(*row, options));
  }
  return out;
}

}  // namespace

StatusOr<std::string> InspectStep(const std::string& rollouts, StepId step, const InspectOptions& options) {
  const std::string path = RolloutPath(rollouts, step);
  if (!base::Exists(path)) return NoSuchStep(rollouts, step);
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(path));
  VOLERY_ASSIGN_OR_RETURN(const formats::RolloutTable table, formats::DecodeRollouts(file->bytes(), path));
  VOLERY_ASSIGN_OR_RETURN(const RewardParts parts, ReadParts(RewardPath(rollouts, step)));
  std::map<uint64_t, Rows> groups = ByGroup(table);
  if (!options.group) return Overview(groups);
  if (*options.group < 0 || *options.group >= static_cast<int64_t>(groups.size())) {
    return NotFoundError("step ", step, " has ", groups.size(),
                         " groups, numbered from 0; there is no group ", *options.group);
  }
  auto found = groups.begin();
  std::advance(found, *options.group);
  std::sort(found->second.begin(), found->second.end(),
            [](const auto* a, const auto* b) { return a->sample < b->sample; });
  return Siblings(found->second, parts, options);
}

}  // namespace volery::orchestration
