#include <iostream>
#include <memory>

#include "app/command.h"
#include "app/mapping.h"
#include "core/base/files.h"
#include "core/config/checks.h"
#include "core/data/token_source.h"
#include "core/formats/binidx_writer.h"
#include "core/policy/pth_file.h"
#include "core/policy/tokenizer_source.h"

namespace volery::app {
namespace {

constexpr int64_t kUint16Ids = 65536;

struct Options {
  std::string tokenizer, characters, input, output, format, column = "text", separator, dtype = "bfloat16";
  int64_t end_id = -1;
};

// PREFIX of PREFIX.idx and PREFIX.bin.
StatusOr<std::string> OutputPrefix(const std::string& output) {
  if (!output.ends_with(".idx"))
    return InvalidError("--output ", output, ": can't tell what to write; PREFIX.idx writes a binidx pair (PREFIX.idx and PREFIX.bin), FILE.pth a model");
  return output.substr(0, output.size() - 4);
}

StatusOr<int32_t> EndId(const Options& options, const policy::TokenizerSource& source) {
  const int32_t size = source.tokenizer->size();
  if (options.end_id >= size) return InvalidError("--end-id ", options.end_id, ": the tokenizer has ", size, " ids");
  if (options.end_id >= 0) return static_cast<int32_t>(options.end_id);
  if (!source.eos) return InvalidError(source.where, " names no end token; say which id ends a document with --end-id");
  return *source.eos;
}

// A model to the checkpoint file of its family's training code.
Status WriteModel(const Options& options) {
  VOLERY_ASSIGN_OR_RETURN(const c10::ScalarType dtype, ParseDtype(options.dtype));
  const plugin::PluginHost host;
  policy::OpenOptions open;
  open.dtype = dtype;
  open.needs_tokenizer = false;
  VOLERY_ASSIGN_OR_RETURN(const policy::ModelSource source, policy::OpenModel(options.input, policy::FamiliesOf(host), open));
  VOLERY_RETURN_IF_ERROR(policy::WritePthFile(source, options.output, dtype));
  std::cout << options.output << ": " << source.info.parameters << " parameters in " << source.specs.size() << " tensors, " << options.dtype << "\n";
  return OkStatus();
}

Status Run(const Options& options) {
  if (options.output.ends_with(".pth")) return WriteModel(options);
  if (options.tokenizer.empty()) return InvalidError("convert: give the --tokenizer that makes tokens of the text");
  VOLERY_ASSIGN_OR_RETURN(const std::string prefix, OutputPrefix(options.output));
  VOLERY_ASSIGN_OR_RETURN(const policy::TokenizerSource source, policy::OpenTokenizerSource(options.tokenizer, options.characters));
  VOLERY_ASSIGN_OR_RETURN(const int32_t end, EndId(options, source));
  const data::TextFile text{options.input, config::TextFormatOf(options.input, options.format), options.column, options.separator, ""};
  if (text.format == "binidx") return InvalidError(options.input, ": is binidx already; give text, JSON Lines or Parquet");
  const bool narrow = source.tokenizer->size() <= kUint16Ids;
  VOLERY_ASSIGN_OR_RETURN(auto writer, formats::BinidxWriter::Open(prefix, narrow ? formats::DType::kU16 : formats::DType::kI32));
  VOLERY_RETURN_IF_ERROR(data::ForEachDocument(text, [&](const data::TextDocument& document) -> Status {
    if (document.empty()) return OkStatus();
    if (document.ids) return InvalidError("column \"", options.column, "\" holds token ids already; give text");
    std::vector<int32_t> ids = source.tokenizer->Encode(document.text, {.add_special = false, .parse_special = false});
    ids.push_back(end);
    return writer->Append(ids);
  }));
  if (writer->document_count() == 0) return InvalidError(options.input, ": there is no text in it");
  VOLERY_RETURN_IF_ERROR(writer->Finish());
  std::cout << prefix << ".idx, " << prefix << ".bin: " << writer->token_count() << " tokens in " << writer->document_count() << " documents, "
            << (narrow ? "uint16" : "int32") << "\n";
  return OkStatus();
}

}  // namespace

Command MakeConvert(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("convert", "Text to tokens on disk (binidx), as `volery pretrain` and RWKV's trainers read them; a model to a .pth file");
  parser->add_option("--input", options->input, "plain text, .jsonl or .parquet; for .pth a model: a folder or a checkpoint")->required();
  parser->add_option("--output", options->output, "PREFIX.idx (PREFIX.bin goes beside it), or FILE.pth")->required();
  parser->add_option("--tokenizer", options->tokenizer, "a tokenizer.json, a folder that holds one, a GGUF file; bytes; characters");
  parser->add_option("--dtype", options->dtype, "of .pth: float32 or bfloat16")->capture_default_str();
  parser->add_option("--characters", options->characters, "the alphabet of --tokenizer characters");
  parser->add_option("--format", options->format, "of the input, instead of going by its name")->check(CLI::IsMember({"text", "jsonl", "parquet"}));
  parser->add_option("--column", options->column, "of .jsonl and .parquet: where the text stands")->capture_default_str();
  parser->add_option("--separator", options->separator, "of plain text: what stands between documents; without it the file is one");
  parser->add_option("--end-id", options->end_id, "token behind every document, instead of the tokenizer's end token")->check(CLI::NonNegativeNumber);
  return {parser, [options] { return Report(Run(*options)); }};
}

}  // namespace volery::app
