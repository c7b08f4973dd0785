#include <fstream>
#include <iostream>
#include <memory>

#include "app/command.h"
#include "core/base/files.h"
#include "core/base/jsonl.h"
#include "core/plugin/plugin_host.h"
#include "core/plugin/reward_pool.h"

namespace volery::app {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string plugin, input, output;
  std::vector<std::string> assignments, folders;
  int64_t timeout_ms = 10'000;
  bool isolate = false;
  int threads = 2;
};

StatusOr<std::string> TextOf(const base::JsonLine& line, const char* key, bool required) {
  const auto found = line.value.find(key);
  if (found == line.value.end() || found->is_null()) {
    if (required) return InvalidError(line.where, ": no \"", key, "\"; each line needs {\"completion\": text, \"answer\": text, other columns}");
    return std::string();
  }
  return found->is_string() ? found->get<std::string>() : found->dump();
}

StatusOr<std::vector<plugin::RewardSample>> ReadSamples(const std::string& path) {
  std::vector<plugin::RewardSample> samples;
  VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(path, [&](const base::JsonLine& line) -> Status {
    if (!line.value.is_object()) return InvalidError(line.where, ": not a JSON object");
    plugin::RewardSample sample;
    VOLERY_ASSIGN_OR_RETURN(sample.completion, TextOf(line, "completion", true));
    VOLERY_ASSIGN_OR_RETURN(sample.answer, TextOf(line, "answer", false));
    VOLERY_ASSIGN_OR_RETURN(sample.prompt, TextOf(line, "prompt", false));
    sample.sample = static_cast<int32_t>(line.index);
    sample.task_index = line.index;
    sample.task_id = std::to_string(line.index);
    sample.columns = std::make_shared<const Json>(line.value);
    samples.push_back(std::move(sample));
    return OkStatus();
  }));
  if (samples.empty()) return InvalidError(path, ": no lines");
  return samples;
}

std::string ResultLine(const plugin::RewardResult& result) {
  Json components = Json::object();
  for (const data::RewardComponent& part : result.components) components[part.name] = part.value;
  nlohmann::ordered_json line;
  line["score"] = result.status == data::RewardStatus::kOk ? Json(result.score) : Json(nullptr);
  line["components"] = components;
  line["status"] = data::RewardStatusName(result.status);
  line["ms"] = result.ms;
  if (!result.message.empty()) line["message"] = result.message;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status Run(const Options& options) {
  const plugin::PluginHost host(options.folders);
  VOLERY_ASSIGN_OR_RETURN(const plugin::PluginInfo info, host.Inspect(options.plugin));
  VOLERY_ASSIGN_OR_RETURN(const Json given, plugin::OptionsFromText(info, options.assignments));
  VOLERY_ASSIGN_OR_RETURN(auto samples, ReadSamples(options.input));
  plugin::RewardSettings settings;
  settings.isolate = options.isolate;
  VOLERY_ASSIGN_OR_RETURN(auto reward, host.LoadReward(options.plugin, given, settings));
  plugin::RewardPoolOptions pool_options;
  pool_options.threads = options.threads;
  plugin::RewardPool pool(pool_options, base::StopToken());
  VOLERY_ASSIGN_OR_RETURN(const auto results, pool.Score({reward, std::move(samples), options.timeout_ms}));
  std::string out;
  for (const plugin::RewardResult& result : results) out += ResultLine(result);
  return base::WriteFileAtomic(options.output, out);
}

}  // namespace

Command MakeReward(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("reward", "Score completions with a reward plugin");
  parser->add_option("--plugin", options->plugin, "name or path of the plugin")->required();
  parser->add_option("--input", options->input, "lines {\"completion\", \"answer\", other columns}")->required();
  parser->add_option("--output", options->output, "lines {\"score\", \"components\", \"status\", \"ms\"}")->required();
  parser->add_option("--option", options->assignments, "key=value of the plugin's options; may be repeated");
  parser->add_option("--plugin-path", options->folders, "folders with plugins, searched first");
  parser->add_option("--timeout-ms", options->timeout_ms, "for one sample")->check(CLI::PositiveNumber)->capture_default_str();
  parser->add_option("--threads", options->threads, "samples scored at once")->check(CLI::Range(1, 1024))->capture_default_str();
  parser->add_flag("--isolate", options->isolate, "run the plugin in a child process that is killed at its limit");
  return {parser, [options] { return Report(Run(*options)); }};
}

}  // namespace volery::app
