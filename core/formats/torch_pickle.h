#pragma once
// Reads the pickle inside a PyTorch checkpoint without running anything: a stack machine for the opcodes that
// torch.save writes for dicts of tensors (protocols 2 to 5), which knows a fixed list of global names and
// builds plain nodes from them. Any other global is refused by its name. What the nodes mean for a file's
// bytes is the business of torch_file.h.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"

namespace volery::formats {

enum class PickleKind : uint8_t {
  kNone,
  kBool,     // number
  kInt,      // number
  kFloat,    // real
  kString,   // text, bytes as they stand
  kTuple,    // items
  kList,     // items
  kDict,     // items: key, value, key, value ..., also keys that come again
  kGlobal,   // number: row of the table of known names
  kStorage,  // text: its key, number: elements, dtype: nothing when they are plain bytes
  kTensor,   // items: storage, tuple of sizes, tuple of strides; number: offset in elements; dtype
  kOther,    // a value that can't matter here: bytes, large integers
};

using PickleId = uint32_t;

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  bool ordered = false;             // a dict made as an OrderedDict
  std::optional<DType> dtype = {};  // storages and tensors; globals that name an element type
  int64_t number = 0;
  double real = 0;
  std::string_view text = {};  // points into the pickle
  std::vector<PickleId> items = {};
};

// Nodes may be shared and may contain themselves: who walks them bounds his own work.
struct Pickle {
  std::vector<PickleNode> nodes;
  PickleId root = 0;

  const PickleNode& at(PickleId id) const { return nodes[id]; }
};

constexpr uint64_t kMaxPickleBytes = 32 << 20;
constexpr size_t kMaxTensorRank = 64;

// `where` names the file in messages, which also give the byte of the pickle. Of a tensor it is guaranteed: a
// storage node, as many strides as sizes and not more than kMaxTensorRank, all of them and the offset
// integers (of any value). InvalidArgument: a global that isn't known, an opcode beyond the list, a stack or
// memo that is used wrongly, calls with other arguments than torch writes, above 32 MiB of pickle or two
// million objects. Linear in the length of the pickle, no recursion. Thread-safe.
StatusOr<Pickle> ReadTorchPickle(std::span<const std::byte> bytes, const std::string& where);

}  // namespace volery::formats
