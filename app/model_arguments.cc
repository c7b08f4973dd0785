#include "app/model_arguments.h"

#include <thread>

#include "app/mapping.h"
#include "core/base/log.h"
#include "core/policy/families.h"
#include "core/tensor/threads.h"

namespace volery::app {

void AddModelArguments(CLI::App& parser, ModelArguments& arguments) {
  parser.add_option("--model", arguments.model, "a Hugging Face folder, a GGUF file or a checkpoint (.pth) of RWKV or GoldFinch")->required();
  parser.add_option("--device", arguments.device, "cpu, cuda or cuda:N")->capture_default_str();
  parser.add_option("--dtype", arguments.dtype, "float32 or bfloat16")->check(CLI::IsMember({"float32", "bfloat16"}))->capture_default_str();
  parser.add_option("--threads", arguments.threads, "cores to use; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  parser.add_option("--tokenizer", arguments.tokenizer, "instead of the model's own: bytes, or a path");
  parser.add_option("--chat-template", arguments.chat_template, "instead of recognising the model's: chatml, smollm2, qwen2.5, qwen3, llama3, rwkv-world");
  parser.add_option("--plugin-path", arguments.plugin_folders, "folders with plugins, searched first");
}

StatusOr<OpenedModel> OpenFromArguments(const ModelArguments& arguments, bool needs_tokenizer) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  tensor::SetComputeThreads(arguments.threads > 0 ? arguments.threads : cores);
  OpenedModel opened;
  VOLERY_ASSIGN_OR_RETURN(opened.dtype, ParseDtype(arguments.dtype));
  VOLERY_ASSIGN_OR_RETURN(opened.device, ParseDevice(arguments.device));
  policy::OpenOptions options;
  options.dtype = opened.dtype;
  options.tokenizer = arguments.tokenizer;
  options.chat_template = arguments.chat_template;
  options.needs_tokenizer = needs_tokenizer;
  const plugin::PluginHost host(arguments.plugin_folders);
  VOLERY_ASSIGN_OR_RETURN(opened.source, policy::OpenModel(arguments.model, policy::FamiliesOf(host), options));
  for (const std::string& note : opened.source.notes) base::LogInfo(note);
  VOLERY_ASSIGN_OR_RETURN(opened.model, opened.source.Build(opened.dtype, opened.device));
  return opened;
}

}  // namespace volery::app
