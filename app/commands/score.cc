#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/model_arguments.h"
#include "core/base/files.h"
#include "core/base/jsonl.h"
#include "core/formats/safetensors_writer.h"
#include "core/inference/scoring.h"
#include "core/tensor/guard.h"

namespace volery::app {
namespace {

using Json = nlohmann::json;

struct Options {
  ModelArguments model;
  std::string input, output, logits;
  bool no_special = false;
};

StatusOr<std::vector<int32_t>> TokensOf(const base::JsonLine& line, const policy::ModelSource& source, bool add_special) {
  if (line.value.is_object() && line.value.contains("text") && line.value["text"].is_string()) {
    if (source.tokenizer.tokenizer == nullptr) {
      return InvalidError(line.where, ": is text, but ", source.where, " holds no tokenizer (tokenizer.json, tokenizer.model, World vocabulary); give tokens, or name a tokenizer with --tokenizer");
    }
    return source.tokenizer.tokenizer->Encode(line.value["text"].get<std::string>(), {.add_special = add_special, .parse_special = true});
  }
  const bool fits = line.value.is_object() && line.value.contains("tokens") && line.value["tokens"].is_array();
  if (!fits) return InvalidError(line.where, ": needs {\"tokens\": [...]} or {\"text\": \"...\"}");
  std::vector<int32_t> tokens;
  for (const Json& id : line.value["tokens"]) {
    if (!id.is_number_integer() || id < 0 || id >= source.info.vocabulary) {
      return InvalidError(line.where, ": token ", id.dump(), " is not an integer from 0 to ", source.info.vocabulary - 1);
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

Status WriteLogits(const std::string& path, const std::vector<inference::TokenScores>& scores) {
  std::vector<formats::SafetensorsDeclaration> declarations;
  for (size_t i = 0; i < scores.size(); ++i) {
    declarations.push_back({Cat("logits.", i), formats::DType::kF32, scores[i].logits.sizes().vec()});
  }
  return base::WriteFileAtomicWith(path, [&](const std::string& temporary) -> Status {
    VOLERY_ASSIGN_OR_RETURN(auto writer, formats::SafetensorsWriter::Open(temporary, declarations));
    for (const inference::TokenScores& score : scores) {
      const auto* data = static_cast<const std::byte*>(score.logits.const_data_ptr());
      VOLERY_RETURN_IF_ERROR(writer->Write({data, static_cast<size_t>(score.logits.nbytes())}));
    }
    return writer->Finish();
  });
}

Status Run(const Options& options) {
  VOLERY_ASSIGN_OR_RETURN(OpenedModel opened, OpenFromArguments(options.model, false));
  std::vector<std::vector<int32_t>> sequences;
  VOLERY_RETURN_IF_ERROR(base::ForEachJsonLine(options.input, [&](const base::JsonLine& line) -> Status {
    VOLERY_ASSIGN_OR_RETURN(auto tokens, TokensOf(line, opened.source, !options.no_special));
    sequences.push_back(std::move(tokens));
    return OkStatus();
  }));
  if (sequences.empty()) return InvalidError(options.input, ": no lines");
  for (auto& [name, weight] : opened.source.weights) weight = weight.to(opened.device);
  VOLERY_RETURN_IF_ERROR(tensor::Guard(opened.source.where, [&] { opened.model->Bind(opened.source.weights); }));
  inference::ScoreOptions score_options;
  score_options.device = opened.device;
  score_options.logits = !options.logits.empty();
  VOLERY_ASSIGN_OR_RETURN(const auto scores, inference::ScoreTokens(*opened.model, sequences, score_options));
  std::string out;
  for (size_t i = 0; i < scores.size(); ++i) out += Json({{"tokens", sequences[i]}, {"logprobs", scores[i].logprobs}}).dump() + "\n";
  VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(options.output, out));
  return options.logits.empty() ? OkStatus() : WriteLogits(options.logits, scores);
}

}  // namespace

Command MakeScore(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("score", "Log-probabilities of given tokens, as the trainer computes them");
  AddModelArguments(*parser, options->model);
  parser->add_option("--input", options->input, "lines {\"tokens\": [...]} or {\"text\": \"...\"}")->required();
  parser->add_option("--output", options->output, "lines {\"tokens\", \"logprobs\"}: one log-prob a token after the first")->required();
  parser->add_option("--logits", options->logits, "also write tensors logits.<line index> [tokens, vocabulary] to this safetensors file");
  parser->add_flag("--no-special", options->no_special, "text without what the tokenizer's post-processor adds");
  return {parser, [options] { return Report(Run(*options)); }};
}

}  // namespace volery::app
