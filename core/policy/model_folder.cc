#include "core/policy/model_folder.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/base/files.h"
#include "core/formats/safetensors.h"
#include "core/formats/safetensors_writer.h"
#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::policy {
namespace {

using nlohmann::ordered_json;

constexpr char kWeights[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";

const char* DtypeWord(formats::DType dtype) {
  switch (dtype) {
    case formats::DType::kF32:
      return "float32";
    case formats::DType::kBf16:
      return "bfloat16";
    case formats::DType::kF16:
      return "float16";
    case formats::DType::kF64:
      return "float64";
    default:
      return nullptr;
  }
}

// Keeps the spelling that is there; older readers know torch_dtype only, newer ones both.
StatusOr<std::string> ConfigWithDtype(const std::string& config_json, formats::DType dtype) {
  ordered_json config = ordered_json::parse(config_json, nullptr, false);
  if (config.is_discarded() || !config.is_object())
    return InternalError("the model's config.json is no JSON object");
  const char* word = DtypeWord(dtype);
  if (word == nullptr)
    return InvalidError("a model folder can't hold weights of type ", formats::DTypeName(dtype));
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = word;
  if (config.contains("dtype") && config.contains("torch_dtype")) config["torch_dtype"] = word;
  return config.dump(2) + "\n";
}

struct Shard {
  std::string file;
  std::vector<size_t> tensors;  // indices into the version
};

int64_t StoredBytes(const data::TensorInfo& info, formats::DType dtype) {
  return formats::ByteCount(dtype, info.shape).value_or(0);
}

std::vector<Shard> Split(const data::WeightVersion& version, formats::DType dtype, int64_t shard_bytes) {
  std::vector<Shard> shards(1);
  int64_t size = 0;
  for (size_t i = 0; i < version.tensors().size(); ++i) {
    const int64_t bytes = StoredBytes(version.tensors()[i], dtype);
    if (size > 0 && size + bytes > shard_bytes) {
      shards.emplace_back();
      size = 0;
    }
    shards.back().tensors.push_back(i);
    size += bytes;
  }
  if (shards.size() == 1) shards[0].file = kWeights;
  for (size_t k = 0; shards.size() > 1 && k < shards.size(); ++k) {
    const auto five = [](size_t n) {
      return std::string(n < 100000 ? 5 - std::to_string(n).size() : 0, '0') + std::to_string(n);
    };
    shards[k].file = Cat("model-", five(k + 1), "-of-", five(shards.size()), ".safetensors");
  }
  return shards;
}

Status WriteTensor(formats::SafetensorsWriter& writer, const data::WeightVersion& version, size_t i,
                   formats::DType dtype) {
  const data::TensorInfo& info = version.tensors()[i];
  if (info.dtype == dtype) return writer.Write(version.bytes(i));
  const std::optional<c10::ScalarType> from = ScalarTypeOf(info.dtype), to = ScalarTypeOf(dtype);
  if (!from || !to)
    return InvalidError("tensor ", info.name, ": no conversion to ", formats::DTypeName(dtype));
  return tensor::Guard(Cat("converting tensor ", info.name), [&] {
    void* data = const_cast<std::byte*>(version.bytes(i).data());
    const at::Tensor converted = at::from_blob(data, info.shape, at::TensorOptions().dtype(*from)).to(*to);
    return writer.Write({static_cast<const std::byte*>(converted.const_data_ptr()), converted.nbytes()});
  });
}

Status WriteShard(const std::string& path, const Shard& shard, const data::WeightVersion& version,
                  formats::DType dtype) {
  std::vector<formats::SafetensorsDeclaration> declarations;
  for (size_t i : shard.tensors)
    declarations.push_back({version.tensors()[i].name, dtype, version.tensors()[i].shape});
  return base::WriteFileAtomicWith(path, [&](const std::string& temporary) -> Status {
    VOLERY_ASSIGN_OR_RETURN(auto writer, formats::SafetensorsWriter::Open(temporary, declarations));
    for (size_t i : shard.tensors) VOLERY_RETURN_IF_ERROR(WriteTensor(*writer, version, i, dtype));
    return writer->Finish();
  });
}

// Weight files of an earlier version in another number of shards would be taken for part of this one.
Status RemoveStale(const std::string& folder, const std::vector<Shard>& shards) {
  std::set<std::string> keep;
  for (const Shard& shard : shards) keep.insert(shard.file);
  if (shards.size() > 1) keep.insert(kIndex);
  VOLERY_ASSIGN_OR_RETURN(const std::vector<std::string> names, base::ListFolder(folder));
  for (const std::string& name : names) {
    const bool shard = name.starts_with("model-") && name.ends_with(".safetensors");
    if ((shard || name == kWeights || name == kIndex) && !keep.contains(name))
      VOLERY_RETURN_IF_ERROR(base::RemoveAll(folder + "/" + name));
  }
  return OkStatus();
}

StatusOr<formats::DType> StoredType(const ModelExport& model, const data::WeightVersion& version) {
  if (version.tensors().empty()) return InternalError("version ", version.id(), " has no tensors");
  if (!model.dtype) {
    for (const data::TensorInfo& info : version.tensors()) {
      if (info.dtype != version.tensors()[0].dtype)
        return InternalError("version ", version.id(), " mixes element types (tensor ", info.name, ")");
    }
    return version.tensors()[0].dtype;
  }
  const std::optional<formats::DType> dtype = DTypeOf(*model.dtype);
  if (!dtype) return InvalidError("weights can't be stored as ", c10::toString(*model.dtype));
  return *dtype;
}

Status CheckRoom(const std::string& folder, const data::WeightVersion& version, formats::DType dtype) {
  int64_t needed = 16 << 20;  // the other files
  for (const data::TensorInfo& info : version.tensors()) needed += StoredBytes(info, dtype);
  VOLERY_ASSIGN_OR_RETURN(const uint64_t free, base::FreeDiskBytes(folder));
  if (free >= static_cast<uint64_t>(needed)) return OkStatus();
  return ResourceError(folder, ": writing the model needs ", needed >> 20, " MiB, the disk has ", free >> 20,
                       " MiB left; free some space");
}

std::string MadeGenerationConfig(const ModelSource& source) {
  ordered_json config;
  if (source.tokenizer.bos) config["bos_token_id"] = *source.tokenizer.bos;
  if (source.stop_ids.size() == 1) config["eos_token_id"] = source.stop_ids[0];
  if (source.stop_ids.size() > 1) config["eos_token_id"] = source.stop_ids;
  if (source.tokenizer.pad) config["pad_token_id"] = *source.tokenizer.pad;
  if (config.is_null()) config = ordered_json::object();
  return config.dump(2) + "\n";
}

}  // namespace

StatusOr<ModelExport> MakeExport(const ModelSource& source) {
  ModelExport result;
  result.config_json = source.config_json;
  VOLERY_ASSIGN_OR_RETURN(result.files, TokenizerFilesOf(source.tokenizer, source.info.context));
  result.files["generation_config.json"] =
      source.generation_config_json.empty() ? MadeGenerationConfig(source) : source.generation_config_json;
  return result;
}

Status FolderModelWriter::WriteInside(const std::string& folder, const data::WeightVersion& version) const {
  VOLERY_ASSIGN_OR_RETURN(const formats::DType dtype, StoredType(model_, version));
  VOLERY_ASSIGN_OR_RETURN(const std::string config, ConfigWithDtype(model_.config_json, dtype));
  VOLERY_RETURN_IF_ERROR(CheckRoom(folder, version, dtype));
  const std::vector<Shard> shards = Split(version, dtype, model_.shard_bytes);
  formats::SafetensorsIndex index;
  for (const Shard& shard : shards) {
    VOLERY_RETURN_IF_ERROR(WriteShard(folder + "/" + shard.file, shard, version, dtype));
    for (size_t i : shard.tensors) {
      index.weight_map[version.tensors()[i].name] = shard.file;
      index.total_size += static_cast<uint64_t>(StoredBytes(version.tensors()[i], dtype));
    }
  }
  if (shards.size() > 1)
    VOLERY_RETURN_IF_ERROR(
        base::WriteFileAtomic(folder + "/" + kIndex, formats::FormatSafetensorsIndex(index)));
  VOLERY_RETURN_IF_ERROR(RemoveStale(folder, shards));
  for (const auto& [name, bytes] : model_.files)
    VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(folder + "/" + name, bytes));
  VOLERY_RETURN_IF_ERROR(WriteCard(folder, version.id()));
  return base::WriteFileAtomic(folder + "/config.json", config);
}

Status FolderModelWriter::WriteCard(const std::string& folder, VersionId version) const {
  return model_.card ? base::WriteFileAtomic(folder + "/README.md", model_.card(version)) : OkStatus();
}

Status FolderModelWriter::Write(const std::string& folder, const data::WeightVersion& version) {
  if (base::IsFolder(folder)) return WriteInside(folder, version);
  if (base::Exists(folder)) return ExistsError(folder, ": is a file; a model folder can't be written there");
  const std::string temporary = folder + ".tmp";
  VOLERY_RETURN_IF_ERROR(base::RemoveAll(temporary));
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(temporary));
  Status status = WriteInside(temporary, version);
  if (status.ok()) status = base::FsyncPath(temporary);
  if (status.ok()) status = base::RenamePath(temporary, folder);
  if (!status.ok()) {
    (void)base::RemoveAll(temporary);
    return status;
  }
  const size_t slash = folder.find_last_of('/');
  return base::FsyncPath(slash == std::string::npos ? "." : slash == 0 ? "/" : folder.substr(0, slash));
}

}  // namespace volery::policy
