#include "core/policy/weight_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "core/formats/torch_file.h"
#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::policy {
namespace {

constexpr char kOutput[] = "lm_head.weight", kEmbedding[] = "model.embed_tokens.weight";
constexpr int64_t kPiece = 1 << 22;  // elements that are converted at once

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += Cat(i > 0 ? ", " : "", shape[i]);
  return text + "]";
}

// At most five names and how many more there are.
std::string SomeNames(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 5; ++i) text += Cat(i > 0 ? ", " : "", names[i]);
  if (names.size() > 5) text += Cat(" and ", names.size() - 5, " more");
  return text;
}

// Buffers that old checkpoints hold and that every implementation computes itself.
bool Computed(const std::string& name) {
  const std::string end = "rotary_emb.inv_freq";
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

Status CheckNames(const std::string& where, const WantedWeights& wanted,
                  const std::set<std::string>& present) {
  std::vector<std::string> missing, unexpected;
  std::set<std::string> names;
  for (const native::TensorSpec& spec : wanted.specs) {
    names.insert(spec.name);
    if (!present.contains(spec.name)) missing.push_back(spec.name);
  }
  for (const std::string& name : present) {
    const bool copy_of_embedding = wanted.tied && name == kOutput;
    if (!names.contains(name) && !copy_of_embedding && !Computed(name)) unexpected.push_back(name);
  }
  if (!missing.empty()) {
    return InvalidError(where, ": ", missing.size(),
                        " tensors that the configuration asks for are missing: ", SomeNames(missing),
                        "; the file is incomplete or belongs to another configuration");
  }
  if (!unexpected.empty()) {
    return InvalidError(
        where, ": ", unexpected.size(),
        " tensors have no place in the model that the configuration describes: ", SomeNames(unexpected));
  }
  return OkStatus();
}

Status CheckShape(const std::string& where, const native::TensorSpec& spec,
                  const std::vector<int64_t>& shape) {
  if (shape == spec.shape) return OkStatus();
  return InvalidError(where, ": tensor ", spec.name, " has the shape ", ShapeText(shape),
                      ", the configuration says ", ShapeText(spec.shape));
}

// Copies `bytes` of `type` into a new tensor of `dtype`, piece by piece.
at::Tensor Converted(std::span<const std::byte> bytes, c10::ScalarType type,
                     const std::vector<int64_t>& shape, c10::ScalarType dtype) {
  at::Tensor result = at::empty(shape, at::TensorOptions().dtype(dtype));
  if (type == dtype) {
    if (!bytes.empty()) std::memcpy(result.mutable_data_ptr(), bytes.data(), bytes.size());
    return result;
  }
  at::Tensor flat = result.view({-1});
  const int64_t count = result.numel(), size = static_cast<int64_t>(c10::elementSize(type));
  at::Tensor piece = at::empty({std::min(count, kPiece)}, at::TensorOptions().dtype(type));
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t n = std::min(kPiece, count - begin);
    std::memcpy(piece.mutable_data_ptr(), bytes.data() + begin * size, static_cast<size_t>(n * size));
    flat.narrow(0, begin, n).copy_(piece.narrow(0, 0, n));
  }
  return result;
}

// `name`: of the tensor in the file.
StatusOr<at::Tensor> ReadTensor(const StoredFile& shard, const std::string& name, const native::TensorSpec& spec,
                                c10::ScalarType dtype) {
  const auto found = shard.tensors.find(name);
  if (found == shard.tensors.end())
    return InvalidError(shard.path, ": tensor ", name, " is missing, though the index names this file");
  const StoredTensor* tensor = &found->second;
  VOLERY_RETURN_IF_ERROR(CheckShape(shard.path, spec, tensor->shape));
  const std::optional<c10::ScalarType> type = ScalarTypeOf(tensor->dtype);
  if (!type ||
      (*type != at::kFloat && *type != at::kDouble && *type != at::kHalf && *type != at::kBFloat16)) {
    return InvalidError(shard.path, ": tensor ", name, " is stored as ", formats::DTypeName(tensor->dtype),
                        "; F32, BF16, F16 and F64 are supported (quantised models are not)");
  }
  return tensor::Guard(Cat(shard.path, ": reading tensor ", name),
                       [&] { return Converted(tensor->bytes, *type, spec.shape, dtype); });
}

// A tied model with another output matrix in its file would lose that matrix in silence.
Status CheckTie(const StoredFile& output, const StoredFile& embedding) {
  const auto a = output.tensors.find(kOutput), b = embedding.tensors.find(kEmbedding);
  if (a == output.tensors.end() || b == embedding.tensors.end()) return OkStatus();
  const StoredTensor &x = a->second, &y = b->second;
  if (x.dtype == y.dtype && x.shape == y.shape && std::ranges::equal(x.bytes, y.bytes)) return OkStatus();
  return InvalidError(output.path, ": the configuration says tie_word_embeddings = true, but ", kOutput,
                      " differs from ", kEmbedding,
                      "; set tie_word_embeddings to false in config.json if the file is right");
}

// Of safetensors, else of PyTorch: one file, or shards with an index. Empty: the folder holds none.
std::string WeightsFile(const std::string& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"})
    if (base::Exists(folder + "/" + name)) return folder + "/" + name;
  return "";
}

StatusOr<std::map<std::string, std::string>> FilesOfTensors(const std::string& folder) {
  std::map<std::string, std::string> files;
  const std::string path = WeightsFile(folder);
  if (path.empty())
    return NotFoundError(folder, ": holds no weights (model.safetensors, pytorch_model.bin, or an index of shards)");
  if (!path.ends_with(".index.json")) {
    VOLERY_ASSIGN_OR_RETURN(const StoredFile file, OpenStoredFile(path));
    for (const auto& [name, tensor] : file.tensors) files[name] = path;
    return files;
  }
  VOLERY_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path));
  VOLERY_ASSIGN_OR_RETURN(const formats::SafetensorsIndex index, formats::ParseSafetensorsIndex(text, path));
  for (const std::string& file : index.Files()) {
    if (!base::Exists(folder + "/" + file))
      return NotFoundError(path, ": names ", file, ", which is not in the folder; fetch the missing shard");
  }
  for (const auto& [name, file] : index.weight_map) files[name] = folder + "/" + file;
  return files;
}

// W of [heads * d, ...], rows interleaved as (first, second) pairs, to rows of all firsts and then all
// seconds a head.
at::Tensor Unpermuted(const at::Tensor& w, int64_t heads) {
  const int64_t rows = w.size(0), half = rows / heads / 2;
  return w.reshape({heads, half, 2, -1}).transpose(1, 2).reshape(w.sizes()).contiguous();
}

StatusOr<at::Tensor> ReadGgufTensor(const formats::GgufView& gguf, const native::ImportedTensor& import,
                                    const native::TensorSpec& spec, c10::ScalarType dtype) {
  const formats::GgufTensor* tensor = gguf.Find(import.source);
  if (tensor == nullptr) return InvalidError(gguf.where, ": tensor ", import.source, " is missing");
  VOLERY_RETURN_IF_ERROR(CheckShape(Cat(gguf.where, ": ", import.source), spec, tensor->shape));
  const int64_t heads = import.unpermute_heads;
  if (heads > 0 && spec.shape[0] % (2 * heads) != 0) {
    return InvalidError(gguf.where, ": tensor ", import.source, " has ", spec.shape[0], " rows, which ",
                        heads, " heads can't share");
  }
  return tensor::Guard(Cat(gguf.where, ": reading tensor ", import.source), [&]() -> StatusOr<at::Tensor> {
    at::Tensor values = at::empty(spec.shape, at::TensorOptions().dtype(at::kFloat));
    VOLERY_RETURN_IF_ERROR(Annotate(
        formats::Dequantise(tensor->type, tensor->bytes, values.mutable_data_ptr<float>(), tensor->count),
        gguf.where, ": tensor ", import.source));
    if (heads > 0) values = Unpermuted(values, heads);
    return values.to(dtype);
  });
}

native::MetaValue ToMetaValue(const formats::GgufValue& value, bool& known) {
  known = true;
  if (value.type == formats::GgufValue::Type::kBool) return std::get<uint64_t>(value.data) != 0;
  if (const auto* x = std::get_if<uint64_t>(&value.data)) return static_cast<int64_t>(*x);
  if (const auto* x = std::get_if<int64_t>(&value.data)) return *x;
  if (const auto* x = std::get_if<double>(&value.data)) return *x;
  if (const auto* x = std::get_if<std::string>(&value.data)) return *x;
  if (const auto* x = std::get_if<std::vector<uint64_t>>(&value.data))
    return std::vector<int64_t>(x->begin(), x->end());
  if (const auto* x = std::get_if<std::vector<int64_t>>(&value.data)) return *x;
  if (const auto* x = std::get_if<std::vector<double>>(&value.data)) return *x;
  if (const auto* x = std::get_if<std::vector<std::string>>(&value.data)) return *x;
  known = false;  // arrays of arrays
  return false;
}

}  // namespace

StatusOr<StoredFile> OpenStoredFile(const std::string& path) {
  StoredFile out;
  out.path = path;
  VOLERY_ASSIGN_OR_RETURN(out.file, base::MappedFile::Open(path));
  if (!formats::LooksLikeTorchFile(out.file->bytes())) {
    VOLERY_ASSIGN_OR_RETURN(const formats::SafetensorsView view,
                            formats::ParseSafetensors(out.file->bytes(), path));
    for (const formats::SafetensorsTensor& t : view.tensors) out.tensors[t.name] = {t.dtype, t.shape, t.bytes};
    return out;
  }
  VOLERY_ASSIGN_OR_RETURN(const formats::TorchFileView view, formats::ParseTorchFile(out.file->bytes(), path));
  std::set<std::string> groups;
  for (const formats::TorchTensor& t : view.tensors) groups.insert(t.group);
  if (groups.size() > 1)
    return InvalidError(path, ": holds several groups of tensors (",
                        SomeNames({groups.begin(), groups.end()}),
                        "), so it isn't clear which are the model's; save the model's state dict alone");
  for (const formats::TorchTensor& t : view.tensors) out.tensors[t.name] = {t.dtype, t.shape, t.bytes};
  return out;
}

std::vector<native::FileTensor> ShapesOf(const StoredFile& file) {
  std::vector<native::FileTensor> out;
  for (const auto& [name, tensor] : file.tensors) out.push_back({name, tensor.shape});
  return out;
}

StatusOr<std::vector<native::FileTensor>> FolderShapes(const std::string& folder) {
  using Places = std::map<std::string, std::string>;
  std::vector<native::FileTensor> out;
  if (WeightsFile(folder).empty()) return out;
  VOLERY_ASSIGN_OR_RETURN(const Places files, FilesOfTensors(folder));
  std::set<std::string> paths;
  for (const auto& [name, path] : files) paths.insert(path);
  for (const std::string& path : paths) {
    VOLERY_ASSIGN_OR_RETURN(const StoredFile file, OpenStoredFile(path));
    for (native::FileTensor& tensor : ShapesOf(file)) out.push_back(std::move(tensor));
  }
  return out;
}

StatusOr<nn::NamedTensors> ReadImported(const StoredFile& file, const native::ImportPlan& plan,
                                        const WantedWeights& wanted) {
  std::map<std::string, std::string> sources;
  std::set<std::string> present;
  for (const native::ImportedTensor& import : plan.tensors) {
    sources[import.target] = import.source;
    present.insert(import.target);
  }
  VOLERY_RETURN_IF_ERROR(CheckNames(file.path, wanted, present));
  nn::NamedTensors result;
  for (const native::TensorSpec& spec : wanted.specs) {
    VOLERY_ASSIGN_OR_RETURN(result[spec.name], ReadTensor(file, sources.at(spec.name), spec, wanted.dtype));
  }
  return result;
}

StatusOr<nn::NamedTensors> ReadFolderWeights(const std::string& folder, const WantedWeights& wanted) {
  using Places = std::map<std::string, std::string>;
  VOLERY_ASSIGN_OR_RETURN(const Places files, FilesOfTensors(folder));
  std::set<std::string> present;
  for (const auto& [name, file] : files) present.insert(name);
  VOLERY_RETURN_IF_ERROR(CheckNames(folder, wanted, present));
  if (wanted.tied && files.contains(kOutput) && files.contains(kEmbedding)) {
    VOLERY_ASSIGN_OR_RETURN(const StoredFile output, OpenStoredFile(files.at(kOutput)));
    VOLERY_ASSIGN_OR_RETURN(const StoredFile embedding, OpenStoredFile(files.at(kEmbedding)));
    VOLERY_RETURN_IF_ERROR(CheckTie(output, embedding));
  }
  std::map<std::string, std::vector<const native::TensorSpec*>> by_file;
  for (const native::TensorSpec& spec : wanted.specs) by_file[files.at(spec.name)].push_back(&spec);
  nn::NamedTensors result;
  for (const auto& [file, specs] : by_file) {
    VOLERY_ASSIGN_OR_RETURN(const StoredFile shard, OpenStoredFile(file));
    for (const native::TensorSpec* spec : specs) {
      VOLERY_ASSIGN_OR_RETURN(result[spec->name], ReadTensor(shard, spec->name, *spec, wanted.dtype));
    }
  }
  return result;
}

StatusOr<nn::NamedTensors> ReadGgufWeights(const formats::GgufView& gguf, const native::ImportPlan& plan,
                                           const WantedWeights& wanted) {
  std::map<std::string, const native::ImportedTensor*> by_target;
  std::set<std::string> present;
  for (const native::ImportedTensor& import : plan.tensors) {
    by_target[import.target] = &import;
    present.insert(import.target);
  }
  VOLERY_RETURN_IF_ERROR(CheckNames(gguf.where, wanted, present));
  nn::NamedTensors result;
  for (const native::TensorSpec& spec : wanted.specs) {
    VOLERY_ASSIGN_OR_RETURN(result[spec.name],
                            ReadGgufTensor(gguf, *by_target.at(spec.name), spec, wanted.dtype));
  }
  return result;
}

StatusOr<std::map<std::string, native::MetaValue>> PluginMetadata(const formats::GgufView& gguf) {
  std::map<std::string, native::MetaValue> metadata;
  for (const auto& [key, value] : gguf.metadata) {
    bool known = false;
    native::MetaValue converted = ToMetaValue(value, known);
    if (known) metadata.emplace(key, std::move(converted));
  }
  if (const formats::GgufTensor* tensor = gguf.Find("rope_freqs.weight"); tensor != nullptr) {
    std::vector<float> values(static_cast<size_t>(tensor->count));
    VOLERY_RETURN_IF_ERROR(
        Annotate(formats::Dequantise(tensor->type, tensor->bytes, values.data(), tensor->count), gguf.where,
                 ": tensor ", tensor->name));
    metadata["tensor/rope_freqs.weight"] = std::vector<double>(values.begin(), values.end());
  }
  return metadata;
}

}  // namespace volery::policy
