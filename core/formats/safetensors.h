#pragma once
// Reading safetensors files: checks every number of the header against the bytes that are really there, then
// shows the tensors as spans of those bytes (nothing is copied). Also the index of a model that is split over
// several files.
//
//   VOLERY_ASSIGN_OR_RETURN(auto file, base::MappedFile::Open(path));
//   VOLERY_ASSIGN_OR_RETURN(SafetensorsView view, ParseSafetensors(file->bytes(), path));
//   const SafetensorsTensor* embed = view.Find("model.embed_tokens.weight");   // lives as long as `file`

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"

namespace volery::formats {

struct SafetensorsTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // row-major, little endian; starts at any alignment
};

struct SafetensorsView {
  std::vector<SafetensorsTensor> tensors;       // in the order of their bytes in the file
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::map<std::string, size_t, std::less<>> by_name;

  const SafetensorsTensor* Find(std::string_view name) const;  // nullptr if absent
};

// `where` names the file in messages. InvalidArgument: the header lies about lengths, offsets leave holes or
// overlap, a shape times its element size isn't the length, a name comes twice, an element type is unknown
// ... Thread-safe.
StatusOr<SafetensorsView> ParseSafetensors(std::span<const std::byte> bytes, const std::string& where);

// model.safetensors.index.json: which file of the same folder holds which tensor.
struct SafetensorsIndex {
  std::map<std::string, std::string> weight_map;  // tensor name -> file name, without a folder
  uint64_t total_size = 0;                        // bytes of all tensors; 0 where the file doesn't say

  std::vector<std::string> Files() const;  // each once, sorted
};

// InvalidArgument for anything that isn't such an index, and for a file name that would leave the folder.
StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view text, const std::string& where);
std::string FormatSafetensorsIndex(const SafetensorsIndex& index);

}  // namespace volery::formats
