#pragma once
// Opening a model wherever it lies: a Hugging Face folder, a GGUF file, a checkpoint of a family's own training
// code (.pth, .safetensors), or from scratch. Gives the
// configuration, the family's plugin, the weights, the tokenizer and what ends a turn. Does not build engines
// or trainers; exporting is model_folder.h.
//
//   plugin::PluginHost host;
//   VOLERY_ASSIGN_OR_RETURN(ModelSource source, OpenModel(path, FamiliesOf(host), {}));
//   VOLERY_ASSIGN_OR_RETURN(auto model, source.Build(at::kFloat, at::kCPU));
//   model->Bind(source.weights);

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/policy/families.h"
#include "core/policy/tokenizer_source.h"
#include "core/text/chat_template.h"
#include "core/text/stop_matcher.h"
#include "volery/native/model.h"

namespace volery::policy {

struct OpenOptions {
  c10::ScalarType dtype = c10::ScalarType::Float;  // of the weights
  bool weights = true;                             // false: everything but the weights, e.g. for a plan
  std::string tokenizer;        // instead of the model's own: "bytes", "characters", "world" or a path
  std::string characters;       // the alphabet of "characters"
  std::string chat_template;    // instead of recognising the model's; names: text/chat_template.h
  bool needs_tokenizer = true;  // false: a folder without a tokenizer opens, for whoever only has token ids
};

constexpr const char* kFromScratch = "model from scratch";

struct ModelSource {
  std::string where;                            // path, or kFromScratch
  std::string config_json;                      // in the form of config.json
  std::string generation_config_json;           // of the folder; empty: there is none
  const native::ModelFamily* family = nullptr;  // lives until the process ends
  native::ModelInfo info;
  std::vector<native::TensorSpec> specs;
  nn::NamedTensors weights;   // contiguous, on the CPU, one a spec; empty without OpenOptions::weights
  TokenizerSource tokenizer;  // its tokenizer is null only without OpenOptions::needs_tokenizer
  std::optional<text::ChatTemplate>
      chat;  // nothing: none, or not recognised (then tokenizer.chat_jinja has it)
  std::optional<int32_t>
      answer_end;                 // of stop_ids: the template's end of turn, else the tokenizer's end token
  std::vector<int32_t> stop_ids;  // ascending: of config, generation_config and the template's end of turn
  std::vector<std::string> stop_texts;  // of the template, where texts end an answer: see text/stop_matcher.h
  std::vector<std::string> notes;       // to print: what was passed over, and why

  StatusOr<std::shared_ptr<native::Model>> Build(c10::ScalarType dtype, c10::Device device,
                                                 const std::map<std::string, std::string>& options = {}) const;
  // Ids from here on are never sampled.
  int64_t vocabulary() const { return tokenizer.tokenizer->size(); }
  // Of stop_texts; null where there are none.
  StatusOr<std::shared_ptr<const text::StopRules>> Stops() const;
  // The template, or why there is none and what to do: for callers that need one.
  StatusOr<text::ChatTemplate> RequireChat() const;
};

// Errors name the file: missing or truncated files, headers that lie, a family without a plugin,
// configuration keys that can't be honoured, tensors missing, unexpected or of another shape, a tokenizer
// with more ids than the model has rows.
StatusOr<ModelSource> OpenModel(const std::string& path, const FamilyFinder& families,
                                const OpenOptions& options);

// Weights as the family initialises them, a pure function of the seed. Where they are 0 or negative, the
// vocabulary becomes the tokenizer's size and bos, eos and pad the tokenizer's own. options.tokenizer must be
// given.
StatusOr<ModelSource> ModelFromScratch(const native::ScratchConfig& config, uint64_t seed,
                                       const FamilyFinder& families, const OpenOptions& options);

// Lays keys over the model's configuration (such as RWKV's {"time_state": true}) and describes the model anew.
// Tensors that it has gained, where its weights were read, begin at 0.
Status LayOverConfig(const nlohmann::json& keys, const FamilyFinder& families, ModelSource& source);

}  // namespace volery::policy
