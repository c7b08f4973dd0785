#pragma once
// Reading PyTorch checkpoint files (.pth, .pt, .bin) as torch.save writes them since version 1.6: a zip file
// with a pickle that names tensors and one entry per storage. No code of the file is ever run
// (torch_pickle.h), and tensors are shown as spans of the file's bytes: nothing is copied.
//
//   VOLERY_ASSIGN_OR_RETURN(auto file, base::MappedFile::Open(path));
//   VOLERY_ASSIGN_OR_RETURN(TorchFileView view, ParseTorchFile(file->bytes(), path));
//   const TorchTensor* embed = view.Find("emb.weight");   // lives as long as `file`

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"

namespace volery::formats {

struct TorchTensor {
  std::string name;   // its key
  std::string group;  // empty; where the file holds a dict of dicts ({"model": {...}}): the outer key
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // row-major, little endian; any alignment; tensors may share bytes
};

// What a dict holds beside tensors: numbers, text, lists, dicts below the second level.
struct TorchSkipped {
  std::string name, group;  // name: "(a key that is no text)" for such
  std::string what;         // for messages: "the integer 7", "a list of 3"
};

struct TorchFileView {
  std::vector<TorchTensor> tensors;                               // in the order of the dict
  std::vector<TorchSkipped> skipped;                              // likewise
  std::map<std::pair<std::string, std::string>, size_t> by_name;  // (group, name)

  const TorchTensor* Find(const std::string& name, const std::string& group = "") const;  // nullptr if absent
};

// True for the first bytes of a file that ParseTorchFile reads or refuses with advice (a zip file, or torch's
// format from before 1.6).
bool LooksLikeTorchFile(std::span<const std::byte> bytes);

// `where` names the file in messages. InvalidArgument: torch's format from before 1.6, a TorchScript program,
// a global that isn't on the list (it could be code), compressed or overlapping entries, big-endian data, a
// storage whose entry has another length than the pickle says, a tensor that leaves its storage or isn't
// contiguous, a key twice, anything but a dict at the top ... Thread-safe.
StatusOr<TorchFileView> ParseTorchFile(std::span<const std::byte> bytes, const std::string& where);

}  // namespace volery::formats
