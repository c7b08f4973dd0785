#pragma once
// Reading the weights that a model asks for out of Hugging Face folders, checkpoint files and GGUF files, tensor
// by tensor, so that memory peaks at the result plus one tensor. Everything missing, unexpected or of another shape is
// refused. Thread-safe.

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/files.h"
#include "core/base/status.h"
#include "core/formats/dtype.h"
#include "core/formats/gguf.h"
#include "volery/native/model.h"

namespace volery::policy {

struct WantedWeights {
  std::vector<native::TensorSpec> specs;
  bool tied = false;  // the output matrix is the embedding: a copy of it in the file is passed over
  c10::ScalarType dtype = c10::ScalarType::Float;
};

// A safetensors or PyTorch file, mapped, with its tensors by name.
struct StoredTensor {
  formats::DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};
struct StoredFile {
  std::string path;
  std::shared_ptr<base::MappedFile> file;
  std::map<std::string, StoredTensor> tensors;
};
StatusOr<StoredFile> OpenStoredFile(const std::string& path);
std::vector<native::FileTensor> ShapesOf(const StoredFile& file);
// Of all weight files of a folder; empty where it holds none.
StatusOr<std::vector<native::FileTensor>> FolderShapes(const std::string& folder);

// The tensors of `plan`.
StatusOr<nn::NamedTensors> ReadImported(const StoredFile& file, const native::ImportPlan& plan,
                                        const WantedWeights& wanted);

// model.safetensors, else pytorch_model.bin, or their shards by an index. Stored as F64, F32, F16 or BF16.
StatusOr<nn::NamedTensors> ReadFolderWeights(const std::string& folder, const WantedWeights& wanted);

// The tensors of `plan`, dequantised and with the rows of pairwise rotary put back in order.
StatusOr<nn::NamedTensors> ReadGgufWeights(const formats::GgufView& gguf, const native::ImportPlan& plan,
                                           const WantedWeights& wanted);

// The file's metadata as a plugin's ImportGguf reads it. One entry is made up: the values of the tensor
// rope_freqs.weight, which belong to the configuration, under the key "tensor/rope_freqs.weight".
StatusOr<std::map<std::string, native::MetaValue>> PluginMetadata(const formats::GgufView& gguf);

}  // namespace volery::policy
