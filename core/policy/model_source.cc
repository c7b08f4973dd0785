#include "core/policy/model_source.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/base/files.h"
#include "core/base/json.h"
#include "core/formats/gguf.h"
#include "core/policy/weight_files.h"
#include "core/tensor/guard.h"

namespace volery::policy {
namespace {

using nlohmann::json;

bool IsGguf(const std::string& path) {
  return path.size() > 5 && path.compare(path.size() - 5, 5, ".gguf") == 0;
}

StatusOr<std::string> FamilyOf(const std::string& config_json, const std::string& where) {
  VOLERY_RETURN_IF_ERROR(base::CheckJsonDepth(config_json, where));
  const json config = json::parse(config_json, nullptr, false);
  if (config.is_discarded() || !config.is_object())
    return InvalidError(where, ": not a JSON object; the file is damaged");
  const auto type = config.find("model_type");
  if (type == config.end() || !type->is_string())
    return InvalidError(where, ": names no model_type, so no plugin can be chosen");
  return type->get<std::string>();
}

// Builds the model once for its description; the weights' dtype plays no part in that.
Status Describe(const FamilyFinder& families, const std::string& where, ModelSource& source) {
  VOLERY_ASSIGN_OR_RETURN(const std::string name, FamilyOf(source.config_json, where));
  VOLERY_ASSIGN_OR_RETURN(source.family, families(name));
  VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<native::Model> model,
                          BuildModel(*source.family, source.config_json, at::kFloat, at::kCPU, where));
  source.info = model->info();
  source.specs = model->parameters();
  return OkStatus();
}

Status ChooseTemplate(const OpenOptions& options, ModelSource& source) {
  if (!options.chat_template.empty()) {
    VOLERY_ASSIGN_OR_RETURN(source.chat, text::ChatTemplateFromName(options.chat_template));
    if (source.tokenizer.chat_jinja.empty() && source.tokenizer.files.empty())
      source.tokenizer.chat_jinja = text::ChatTemplateJinja(*source.chat);
  } else if (!source.tokenizer.chat_jinja.empty()) {
    source.chat = text::RecogniseTemplate(source.tokenizer.chat_jinja);
  }
  return OkStatus();
}

// eos_token_id is a number or a list of them.
void AddEos(const json& generation, std::set<int64_t>& ids) {
  const auto eos = generation.find("eos_token_id");
  if (eos == generation.end()) return;
  if (eos->is_number_integer()) ids.insert(eos->get<int64_t>());
  if (!eos->is_array()) return;
  for (const json& id : *eos) {
    if (id.is_number_integer()) ids.insert(id.get<int64_t>());
  }
}

// What a file recommends for sampling would make the behaviour log-probs differ from the trainer's.
void NoteSamplingDefaults(const json& generation, const std::string& path, ModelSource& source) {
  std::string found;
  for (const char* key : {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "do_sample"}) {
    if (generation.contains(key) && !generation[key].is_null())
      found += Cat(found.empty() ? "" : ", ", key, " = ", generation[key].dump());
  }
  if (!found.empty())
    source.notes.push_back(
        Cat(path, ": its sampling defaults are not used (", found, "); set them where you want them"));
}

Status ReadGenerationConfig(const std::string& folder, std::set<int64_t>& stops, ModelSource& source) {
  const std::string path = folder + "/generation_config.json";
  if (!base::Exists(path)) return OkStatus();
  VOLERY_ASSIGN_OR_RETURN(source.generation_config_json, base::ReadFile(path));
  VOLERY_RETURN_IF_ERROR(base::CheckJsonDepth(source.generation_config_json, path));
  const json generation = json::parse(source.generation_config_json, nullptr, false);
  if (generation.is_discarded() || !generation.is_object())
    return InvalidError(path, ": not a JSON object; the file is damaged");
  AddEos(generation, stops);
  NoteSamplingDefaults(generation, path, source);
  return OkStatus();
}

Status FinishStops(std::set<int64_t> stops, ModelSource& source) {
  stops.insert(source.info.stop_ids.begin(), source.info.stop_ids.end());
  const text::Tokenizer& tokenizer = *source.tokenizer.tokenizer;
  const std::string end = source.chat ? text::EndOfTurn(*source.chat) : "";
  if (source.chat) source.stop_texts = text::StopTexts(*source.chat);
  if (source.chat && end.empty()) {
    source.answer_end = source.tokenizer.eos;
    if (source.answer_end) stops.insert(*source.answer_end);
  } else if (source.chat) {
    const std::optional<int32_t> id = tokenizer.IdOf(end);
    if (!id) {
      return InvalidError(source.where, ": the chat template ", text::ChatTemplateName(*source.chat),
                          " ends turns with ", end, ", which the tokenizer (", source.tokenizer.where,
                          ") doesn't have; name another chat_template");
    }
    stops.insert(*id);
    source.answer_end = id;
  } else if (source.tokenizer.eos && stops.contains(*source.tokenizer.eos)) {
    source.answer_end = source.tokenizer.eos;
  }
  for (int64_t id : stops) {
    if (id >= 0 && id < tokenizer.size()) {
      source.stop_ids.push_back(static_cast<int32_t>(id));
    } else {
      source.notes.push_back(
          Cat(source.where, ": stop id ", id, " is no token of the tokenizer and is passed over"));
    }
  }
  return OkStatus();
}

// What every kind of model needs after its configuration and tokenizer are there.
Status Finish(const OpenOptions& options, std::set<int64_t> stops, ModelSource& source) {
  const int64_t size = source.tokenizer.tokenizer->size();
  if (size > source.info.vocabulary) {
    return InvalidError(source.where, ": the model has ", source.info.vocabulary,
                        " rows of embeddings, the tokenizer (", source.tokenizer.where, ") ", size,
                        " ids; use the tokenizer that belongs to the model");
  }
  VOLERY_RETURN_IF_ERROR(ChooseTemplate(options, source));
  return FinishStops(std::move(stops), source);
}

// What the configuration leaves to the tensors' shapes.
Status CompleteConfig(const FamilyFinder& families, const std::string& folder, ModelSource& source) {
  VOLERY_ASSIGN_OR_RETURN(const std::string name, FamilyOf(source.config_json, folder + "/config.json"));
  VOLERY_ASSIGN_OR_RETURN(const native::ModelFamily* family, families(name));
  VOLERY_ASSIGN_OR_RETURN(const std::vector<native::FileTensor> shapes, FolderShapes(folder));
  VOLERY_ASSIGN_OR_RETURN(source.config_json, tensor::Guard(folder, [&] {
                            return family->CompleteConfig(source.config_json, shapes);
                          }));
  return OkStatus();
}

StatusOr<ModelSource> OpenFolder(const std::string& folder, const FamilyFinder& families,
                                 const OpenOptions& options) {
  ModelSource source;
  source.where = folder;
  const std::string config_path = folder + "/config.json";
  if (!base::Exists(config_path))
    return NotFoundError(folder, ": holds no config.json, so it is no model folder");
  VOLERY_ASSIGN_OR_RETURN(source.config_json, base::ReadFile(config_path));
  VOLERY_RETURN_IF_ERROR(CompleteConfig(families, folder, source));
  VOLERY_RETURN_IF_ERROR(Describe(families, config_path, source));
  const bool own_tokenizer = options.tokenizer.empty();
  if (options.needs_tokenizer || !own_tokenizer || HoldsTokenizer(folder)) {
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer, OpenTokenizerSource(own_tokenizer ? folder : options.tokenizer,
                                                                  options.characters));
    std::set<int64_t> stops;
    VOLERY_RETURN_IF_ERROR(ReadGenerationConfig(folder, stops, source));
    VOLERY_RETURN_IF_ERROR(Finish(options, std::move(stops), source));
  }
  if (options.weights) {
    VOLERY_ASSIGN_OR_RETURN(source.weights,
                            ReadFolderWeights(folder, {source.specs, source.info.tied, options.dtype}));
  }
  return source;
}

StatusOr<native::ImportPlan> PlanImport(const formats::GgufView& gguf, const native::ModelFamily& family) {
  using Metadata = std::map<std::string, native::MetaValue>;
  VOLERY_ASSIGN_OR_RETURN(const Metadata metadata, PluginMetadata(gguf));
  std::vector<std::string> names;
  for (const formats::GgufTensor& tensor : gguf.tensors) names.push_back(tensor.name);
  return tensor::Guard(gguf.where, [&] { return family.ImportGguf(metadata, names); });
}

StatusOr<ModelSource> OpenGguf(const std::string& path, const FamilyFinder& families,
                               const OpenOptions& options) {
  VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(path));
  VOLERY_ASSIGN_OR_RETURN(const formats::GgufView gguf, formats::ParseGguf(file->bytes(), path));
  VOLERY_ASSIGN_OR_RETURN(const std::string architecture, gguf.String("general.architecture"));
  ModelSource source;
  source.where = path;
  VOLERY_ASSIGN_OR_RETURN(source.family, families(architecture));
  VOLERY_ASSIGN_OR_RETURN(const native::ImportPlan plan, PlanImport(gguf, *source.family));
  source.config_json = plan.config_json;
  VOLERY_RETURN_IF_ERROR(Describe(families, path, source));
  if (options.tokenizer.empty()) {
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer, TokenizerFromGguf(gguf));
  } else {
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer, OpenTokenizerSource(options.tokenizer, options.characters));
  }
  VOLERY_RETURN_IF_ERROR(Finish(options, {}, source));
  if (options.weights) {
    VOLERY_ASSIGN_OR_RETURN(source.weights,
                            ReadGgufWeights(gguf, plan, {source.specs, source.info.tied, options.dtype}));
  }
  return source;
}

// The family whose training code wrote a file with these tensors, and where they go.
StatusOr<native::ImportPlan> PlanCheckpoint(const StoredFile& file, const FamilyFinder& families,
                                            ModelSource& source) {
  const std::vector<native::FileTensor> shapes = ShapesOf(file);
  std::vector<std::string> failures;
  for (const native::ModelFamily* family : families.All(&failures)) {
    VOLERY_ASSIGN_OR_RETURN(std::optional<native::ImportPlan> plan,
                            tensor::Guard(file.path, [&] { return family->ImportPth(shapes); }));
    if (!plan) continue;
    source.family = family;
    return *std::move(plan);
  }
  return InvalidError(file.path, ": no model plugin knows a checkpoint with these tensors (",
                      shapes.empty() ? "it holds none" : Cat("the first is ", shapes[0].name),
                      "); give a Hugging Face folder instead",
                      NotUsable(failures));
}

constexpr int64_t kWorldRows = 65536;  // of embeddings in models with the RWKV World vocabulary

// A .pth or .safetensors file of a family's own training code.
StatusOr<ModelSource> OpenCheckpoint(const std::string& path, const FamilyFinder& families,
                                     const OpenOptions& options) {
  VOLERY_ASSIGN_OR_RETURN(const StoredFile file, OpenStoredFile(path));
  ModelSource source;
  source.where = path;
  VOLERY_ASSIGN_OR_RETURN(const native::ImportPlan plan, PlanCheckpoint(file, families, source));
  source.config_json = plan.config_json;
  VOLERY_RETURN_IF_ERROR(Describe(families, path, source));
  const bool world = options.tokenizer.empty() && source.info.vocabulary == kWorldRows;
  if (options.tokenizer.empty() && !world && options.needs_tokenizer)
    return InvalidError(path, ": has ", source.info.vocabulary,
                        " rows of embeddings and brings no tokenizer; name one (model.tokenizer, or --tokenizer)");
  if (world || !options.tokenizer.empty()) {
    VOLERY_ASSIGN_OR_RETURN(source.tokenizer,
                            OpenTokenizerSource(world ? "world" : options.tokenizer, options.characters));
    if (world && source.tokenizer.chat_jinja.empty())
      source.tokenizer.chat_jinja = text::ChatTemplateJinja(text::ChatTemplate::kRwkvWorld);
    VOLERY_RETURN_IF_ERROR(Finish(options, {}, source));
  }
  if (options.weights) {
    VOLERY_ASSIGN_OR_RETURN(source.weights,
                            ReadImported(file, plan, {source.specs, source.info.tied, options.dtype}));
  }
  return source;
}

}  // namespace

StatusOr<std::shared_ptr<native::Model>> ModelSource::Build(
    c10::ScalarType dtype, c10::Device device, const std::map<std::string, std::string>& options) const {
  return BuildModel(*family, config_json, dtype, device, where, options);
}

StatusOr<std::shared_ptr<const text::StopRules>> ModelSource::Stops() const {
  if (stop_texts.empty()) return std::shared_ptr<const text::StopRules>();
  return text::StopRules::Make(tokenizer.tokenizer, stop_ids, stop_texts);
}

StatusOr<text::ChatTemplate> ModelSource::RequireChat() const {
  if (chat) return *chat;
  const std::string choices =
      Cat("there are ", text::ChatTemplateNames(), "; name one (model.chat_template, or --chat-template)");
  if (tokenizer.chat_jinja.empty()) return InvalidError(where, ": has no chat template; ", choices);
  return InvalidError(where, ": its chat template is not one that volery renders; ", choices,
                      ". It begins: ", tokenizer.chat_jinja.substr(0, 120));
}

StatusOr<ModelSource> OpenModel(const std::string& path, const FamilyFinder& families,
                                const OpenOptions& options) {
  if (!base::Exists(path))
    return NotFoundError(path,
                         ": there is no such file or folder; give a Hugging Face folder, a .gguf or a .pth file");
  if (base::IsFolder(path)) return OpenFolder(path, families, options);
  if (IsGguf(path)) return OpenGguf(path, families, options);
  if (path.ends_with(".pth") || path.ends_with(".safetensors")) return OpenCheckpoint(path, families, options);
  return InvalidError(
      path,
      ": neither a folder nor a .gguf, .pth or .safetensors file");
}

StatusOr<ModelSource> ModelFromScratch(const native::ScratchConfig& config, uint64_t seed,
                                       const FamilyFinder& families, const OpenOptions& options) {
  if (options.tokenizer.empty())
    return InvalidError(
        "a model from scratch needs a tokenizer: \"bytes\", \"characters\", \"world\" or a path");
  ModelSource source;
  source.where = kFromScratch;
  VOLERY_ASSIGN_OR_RETURN(source.tokenizer, OpenTokenizerSource(options.tokenizer, options.characters));
  native::ScratchConfig filled = config;
  if (filled.vocabulary <= 0) filled.vocabulary = source.tokenizer.tokenizer->size();
  if (filled.bos_id < 0) filled.bos_id = source.tokenizer.bos.value_or(-1);
  if (filled.eos_id < 0) filled.eos_id = source.tokenizer.eos.value_or(-1);
  if (filled.pad_id < 0) filled.pad_id = source.tokenizer.pad.value_or(-1);
  VOLERY_ASSIGN_OR_RETURN(source.family, families(filled.family));
  VOLERY_ASSIGN_OR_RETURN(source.config_json,
                          tensor::Guard("[model]", [&] { return source.family->ScratchConfigJson(filled); }));
  VOLERY_RETURN_IF_ERROR(Describe(families, "[model]", source));
  VOLERY_RETURN_IF_ERROR(Finish(options, {}, source));
  if (!options.weights) return source;
  VOLERY_ASSIGN_OR_RETURN(const std::shared_ptr<native::Model> model, source.Build(at::kFloat, at::kCPU));
  VOLERY_RETURN_IF_ERROR(tensor::Guard("initialising the model", [&] {
    for (const native::TensorSpec& spec : source.specs)
      source.weights[spec.name] = at::empty(spec.shape, at::TensorOptions().dtype(at::kFloat));
    model->Initialise(source.weights, seed);
    for (auto& [name, weight] : source.weights) weight = weight.to(options.dtype);
  }));
  return source;
}

Status LayOverConfig(const json& keys, const FamilyFinder& families, ModelSource& source) {
  json config = json::parse(source.config_json, nullptr, false);
  VOLERY_CHECK(config.is_object());
  config.merge_patch(keys);
  source.config_json = config.dump(2) + "\n";
  const bool has_weights = !source.weights.empty();
  VOLERY_RETURN_IF_ERROR(Describe(families, Cat(source.where, " with the recipe's model.config"), source));
  if (!has_weights) return OkStatus();
  return tensor::Guard("making the model's new tensors", [&] {
    const auto dtype = source.weights.begin()->second.scalar_type();
    int64_t added = 0;
    for (const native::TensorSpec& spec : source.specs) {
      if (source.weights.contains(spec.name)) continue;
      source.weights[spec.name] = at::zeros(spec.shape, at::TensorOptions().dtype(dtype));
      ++added;
    }
    if (added > 0) source.notes.push_back(Cat("model.config brought ", added, " new tensors, which begin at 0"));
  });
}

}  // namespace volery::policy
