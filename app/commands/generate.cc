#include <iostream>
#include <map>
#include <memory>

#include "app/command.h"
#include "app/model_arguments.h"
#include "app/task_setup.h"
#include "core/base/jsonl.h"
#include "core/base/signals.h"
#include "core/inference/engine.h"
#include "core/inference/generate.h"
#include "core/policy/version.h"

namespace volery::app {
namespace {

using Json = nlohmann::json;

struct Options {
  ModelArguments model;
  std::string prompt, input, system;
  int32_t max_new_tokens = 128, top_k = 0, samples = 1;
  float temperature = 1, top_p = 1, min_p = 0;
  uint64_t seed = 0;
  int64_t slots = 64;
  bool json = false, chat = false, no_special = false;
};

class PromptReader {
 public:
  PromptReader(const Options& options, const policy::ModelSource& source) : options_(options), source_(source) {}

  StatusOr<std::vector<int32_t>> FromText(const std::string& text) const {
    if (options_.chat) return FromMessages({{"user", text}});
    return source_.tokenizer.tokenizer->Encode(text, {.add_special = !options_.no_special, .parse_special = true});
  }

  StatusOr<std::vector<int32_t>> FromLine(const base::JsonLine& line) const {
    if (line.value.is_object()) {
      if (line.value.contains("prompt") && line.value["prompt"].is_string()) return FromText(line.value["prompt"]);
      if (line.value.contains("messages") && line.value["messages"].is_array()) return FromMessageLine(line);
      if (line.value.contains("tokens") && line.value["tokens"].is_array()) return FromTokens(line);
    }
    return InvalidError(line.where, ": needs {\"prompt\": \"...\"}, {\"messages\": [...]} or {\"tokens\": [...]}");
  }

 private:
  StatusOr<std::vector<int32_t>> FromMessages(std::vector<text::ChatMessage> messages) const {
    if (!options_.system.empty()) messages.insert(messages.begin(), {"system", options_.system});
    VOLERY_ASSIGN_OR_RETURN(const text::ChatTemplate chat, source_.RequireChat());
    VOLERY_ASSIGN_OR_RETURN(const std::string rendered, text::RenderChat(chat, messages, {}));
    return source_.tokenizer.tokenizer->Encode(rendered, {.add_special = false, .parse_special = true});
  }

  StatusOr<std::vector<int32_t>> FromMessageLine(const base::JsonLine& line) const {
    StatusOr<std::vector<text::ChatMessage>> messages = ChatMessages(line.value["messages"]);
    if (!messages.ok()) return Annotate(messages.status(), line.where);
    return FromMessages(*std::move(messages));
  }

  StatusOr<std::vector<int32_t>> FromTokens(const base::JsonLine& line) const {
    std::vector<int32_t> tokens;
    for (const Json& id : line.value["tokens"]) {
      if (!id.is_number_integer() || id < 0 || id >= source_.info.vocabulary) {
        return InvalidError(line.where, ": token ", id.dump(), " is not an integer from 0 to ", source_.info.vocabulary - 1);
      }
      tokens.push_back(id.get<int32_t>());
    }
    return tokens;
  }

  const Options& options_;
  const policy::ModelSource& source_;
};

StatusOr<std::vector<std::vector<int32_t>>> ReadPrompts(const Options& options, const policy::ModelSource& source) {
  const PromptReader reader(options, source);
  std::vector<std::vector<int32_t>> prompts;
  if (!options.prompt.empty()) {
    VOLERY_ASSIGN_OR_RETURN(auto tokens, reader.FromText(options.prompt));
    prompts.push_back(std::move(tokens));
    return prompts;
  }
  VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(options.input, [&](const base::JsonLine& line) -> Status {
    VOLERY_ASSIGN_OR_RETURN(auto tokens, reader.FromLine(line));
    prompts.push_back(std::move(tokens));
    return OkStatus();
  }));
  if (prompts.empty()) return InvalidError(options.input, ": no lines");
  return prompts;
}

StatusOr<data::SamplingParams> MakeParams(const Options& options, const policy::ModelSource& source) {
  data::SamplingParams params;
  params.temperature = options.temperature;
  params.top_p = options.top_p;
  params.min_p = options.min_p;
  params.top_k = options.top_k;
  params.max_new_tokens = options.max_new_tokens;
  params.stop_ids = source.stop_ids;
  VOLERY_ASSIGN_OR_RETURN(params.stop_rules, source.Stops());
  params.seed = options.seed;
  return params;
}

void Print(const data::Rollout& rollout, int64_t index, const Options& options, const data::SamplingParams& params, const policy::ModelSource& source) {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  for (const data::Span& span : rollout.spans) {
    if (span.origin != data::SpanOrigin::kSampled) continue;
    ids.insert(ids.end(), span.tokens.begin(), span.tokens.end());
    logprobs.insert(logprobs.end(), span.logprobs.begin(), span.logprobs.end());
  }
  const std::string text = text::CompletionText(*source.tokenizer.tokenizer, ids, rollout.stop == data::StopReason::kStop,
                                                params.stop_ids, params.stop_rules.get());
  if (!options.json) {
    std::cout << text << "\n";
    return;
  }
  nlohmann::ordered_json line;
  line["index"] = index;
  line["text"] = text;
  line["ids"] = ids;
  line["logprobs"] = logprobs;
  line["stop_reason"] = data::StopReasonName(rollout.stop);
  std::cout << line.dump() << "\n";
}

Status Run(const Options& options) {
  if (options.prompt.empty() == options.input.empty()) return InvalidError("generate: give exactly one of --prompt and --input");
  VOLERY_ASSIGN_OR_RETURN(OpenedModel opened, OpenFromArguments(options.model));
  VOLERY_ASSIGN_OR_RETURN(const auto prompts, ReadPrompts(options, opened.source));
  inference::EngineOptions engine_options;
  engine_options.vocabulary = opened.source.vocabulary();
  engine_options.dtype = opened.dtype;
  engine_options.max_slots = options.slots;
  VOLERY_ASSIGN_OR_RETURN(auto engine, inference::SlotEngine::Create(opened.model, engine_options));
  VOLERY_ASSIGN_OR_RETURN(auto prepared, engine->Prepare(policy::MakeVersion(VersionId(0), std::move(opened.source.weights))));
  VOLERY_RETURN_IF_ERROR(engine->Update(std::move(prepared), data::OnUpdate::kKeep));
  std::vector<data::SampleRequest> requests;
  VOLERY_ASSIGN_OR_RETURN(const data::SamplingParams params, MakeParams(options, opened.source));
  for (size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back({GroupId::Make(0, 0, static_cast<int>(i)), 0, options.samples, prompts[i], params});
  }
  base::SignalWatcher signals([](int) {});
  inference::GenerateOptions generate_options;
  generate_options.progress = [&](const inference::GenerateProgress&) { return !signals.requested(); };
  VOLERY_ASSIGN_OR_RETURN(const auto results, inference::Generate(*engine, requests, generate_options));
  for (size_t i = 0; i < results.size(); ++i) {
    for (const data::Rollout& rollout : results[i]) Print(rollout, static_cast<int64_t>(i), options, params, opened.source);
  }
  std::cout.flush();
  if (!std::cout.good()) return DataLossError("can't write to standard output (disk full, or the reader is gone)");
  return signals.requested() ? CancelledError("stopped by Ctrl-C; what was generated so far is printed") : OkStatus();
}

}  // namespace

Command MakeGenerate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("generate", "Sample completions from a model");
  AddModelArguments(*parser, options->model);
  parser->add_option("--prompt", options->prompt, "one prompt");
  parser->add_option("--input", options->input, "lines {\"prompt\"}, {\"messages\"} or {\"tokens\"}");
  parser->add_option("--max-new-tokens", options->max_new_tokens, "longest completion")->check(CLI::PositiveNumber)->capture_default_str();
  parser->add_option("--temperature", options->temperature, "0: greedy")->check(CLI::Range(0.0, 100.0))->capture_default_str();
  parser->add_option("--top-p", options->top_p, "keep the likeliest tokens that together reach p")->check(CLI::Range(1e-6, 1.0))->capture_default_str();
  parser->add_option("--top-k", options->top_k, "keep the k likeliest tokens; 0: all")->check(CLI::NonNegativeNumber)->capture_default_str();
  parser->add_option("--min-p", options->min_p, "drop tokens below this share of the likeliest one's probability")->check(CLI::Range(0.0, 1.0))->capture_default_str();
  parser->add_option("--seed", options->seed, "of the sampling noise")->capture_default_str();
  parser->add_option("--samples", options->samples, "completions of each prompt")->check(CLI::PositiveNumber)->capture_default_str();
  parser->add_option("--slots", options->slots, "most completions decoded at once")->check(CLI::PositiveNumber)->capture_default_str();
  parser->add_option("--system", options->system, "with --chat or messages: a system message in front");
  parser->add_flag("--chat", options->chat, "a prompt is what a user says: apply the chat template");
  parser->add_flag("--no-special", options->no_special, "text without what the tokenizer's post-processor adds");
  parser->add_flag("--json", options->json, "lines {\"index\", \"text\", \"ids\", \"logprobs\", \"stop_reason\"}");
  return {parser, [options] { return Report(Run(*options)); }};
}

}  // namespace volery::app
