#pragma once
// The options that every model command takes (--model, --device, --dtype, --threads ...), and the model they open.

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "core/policy/model_source.h"

namespace volery::app {

struct ModelArguments {
  std::string model, device = "cpu", dtype = "float32", tokenizer, chat_template;
  std::vector<std::string> plugin_folders;
  int threads = 0;   // 0: all cores
};

void AddModelArguments(CLI::App& parser, ModelArguments& arguments);

struct OpenedModel {
  policy::ModelSource source;
  std::shared_ptr<native::Model> model;
  c10::ScalarType dtype = c10::ScalarType::Float;
  c10::Device device = c10::Device(c10::DeviceType::CPU);  // the model's; source.weights are on the CPU
};

// Sets the calling thread's compute threads, opens the model and prints its notes. Without `needs_tokenizer` a folder
// that has none opens too; its source.tokenizer.tokenizer is null then.
StatusOr<OpenedModel> OpenFromArguments(const ModelArguments& arguments, bool needs_tokenizer = true);

}  // namespace volery::app
