#pragma once
// Reading GGUF files (version 2 and 3, little endian): metadata with typed look-ups, and tensors as spans of
// the file. Every length is checked against the bytes that are there before anything is allocated. Element
// types: ggml_types.h.
//
//   VOLERY_ASSIGN_OR_RETURN(auto file, base::MappedFile::Open(path));
//   VOLERY_ASSIGN_OR_RETURN(GgufView view, ParseGguf(file->bytes(), path));
//   VOLERY_ASSIGN_OR_RETURN(int64_t layers, view.Int("llama.block_count"));
//   VOLERY_RETURN_IF_ERROR(Dequantise(tensor.type, tensor.bytes, out, tensor.count));

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/status.h"
#include "core/formats/ggml_types.h"

namespace volery::formats {

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // outermost first, as LibTorch counts them (the file stores the reverse)
  GgmlType type = GgmlType::kF32;
  int64_t count = 0;  // elements
  std::span<const std::byte> bytes;
};

// One metadata value. Numbers are widened (a bool is 0 or 1); `type` says what the file held.
struct GgufValue {
  enum class Type : uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kString,
    kArray,
    kU64,
    kI64,
    kF64
  };
  using Data =
      std::variant<uint64_t, int64_t, double, std::string, std::vector<uint64_t>, std::vector<int64_t>,
                   std::vector<double>, std::vector<std::string>, std::vector<GgufValue>>;
  Type type = Type::kU8;
  Type element = Type::kU8;  // of an array
  Data data;
};

const char* GgufTypeName(GgufValue::Type type);  // "u32", "string" ...

// Look-ups fail with NotFound (no such key) or InvalidArgument (another type), naming file, key and type.
struct GgufView {
  std::string where;
  uint32_t version = 3;
  std::vector<GgufTensor> tensors;  // in the file's order
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, size_t, std::less<>> by_name;

  const GgufTensor* Find(std::string_view name) const;  // nullptr if absent
  bool Has(std::string_view key) const { return metadata.contains(key); }
  StatusOr<int64_t> Int(std::string_view key) const;   // any integer type, or bool
  StatusOr<double> Float(std::string_view key) const;  // any number
  StatusOr<bool> Bool(std::string_view key) const;
  StatusOr<std::string> String(std::string_view key) const;
  StatusOr<std::vector<int64_t>> Ints(std::string_view key) const;   // array of any integer type
  StatusOr<std::vector<double>> Floats(std::string_view key) const;  // array of any number type
  StatusOr<std::vector<std::string>> Strings(std::string_view key) const;
};

// `where` names the file in messages. InvalidArgument for a damaged or hostile file, an unknown element type,
// another byte order or version, and a file that is one part of several (split.count > 1). Thread-safe.
StatusOr<GgufView> ParseGguf(std::span<const std::byte> bytes, const std::string& where);

}  // namespace volery::formats
