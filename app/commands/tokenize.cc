#include <iostream>
#include <memory>

#include "app/command.h"
#include "core/base/jsonl.h"
#include "core/policy/tokenizer_source.h"

namespace volery::app {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string tokenizer, input, characters;
  bool decode = false, no_special = false;
};

Status Encode(const text::Tokenizer& tokenizer, const base::JsonLine& line, bool add_special) {
  if (!line.value.is_object() || !line.value.contains("text") || !line.value["text"].is_string()) {
    return InvalidError(line.where, ": needs {\"text\": \"...\"}");
  }
  const std::vector<int32_t> ids = tokenizer.Encode(line.value["text"].get<std::string>(), {.add_special = add_special, .parse_special = true});
  std::cout << Json({{"ids", ids}}).dump() << "\n";
  return OkStatus();
}

Status Decode(const text::Tokenizer& tokenizer, const base::JsonLine& line, bool skip_special) {
  const bool fits = line.value.is_object() && line.value.contains("ids") && line.value["ids"].is_array();
  if (!fits) return InvalidError(line.where, ": needs {\"ids\": [...]}");
  std::vector<int32_t> ids;
  for (const Json& id : line.value["ids"]) {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer.size()) {
      return InvalidError(line.where, ": id ", id.dump(), " is not an integer from 0 to ", tokenizer.size() - 1);
    }
    ids.push_back(id.get<int32_t>());
  }
  std::cout << Json({{"text", tokenizer.Decode(ids, skip_special)}}).dump() << "\n";
  return OkStatus();
}

Status Run(const Options& options) {
  VOLERY_ASSIGN_OR_RETURN(const policy::TokenizerSource source, policy::OpenTokenizerSource(options.tokenizer, options.characters));
  const auto visit = [&](const base::JsonLine& line) {
    return options.decode ? Decode(*source.tokenizer, line, options.no_special) : Encode(*source.tokenizer, line, !options.no_special);
  };
  VOLERY_RETURN_IF_ERROR(options.input.empty() ? base::ForEachJsonLine(std::cin, "standard input", visit) : base::ForEachJsonLine(options.input, visit));
  std::cout.flush();
  return std::cout.good() ? OkStatus() : DataLossError("can't write to standard output (disk full, or the reader is gone)");
}

}  // namespace

Command MakeTokenize(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("tokenize", "Text to token ids, or back, line by line");
  parser->add_option("--tokenizer", options->tokenizer, "a tokenizer.json, SentencePiece .model or RWKV World .txt, a folder that holds one, a GGUF file; bytes; characters; world")->required();
  parser->add_option("--characters", options->characters, "the alphabet of --tokenizer characters");
  parser->add_option("--input", options->input, "lines {\"text\": ...} (or {\"ids\": [...]} with --decode); standard input without it");
  parser->add_flag("--decode", options->decode, "ids to text");
  parser->add_flag("--no-special", options->no_special, "without what the post-processor adds; with --decode: leave special tokens out");
  return {parser, [options] { return Report(Run(*options)); }};
}

}  // namespace volery::app
