#include "core/formats/gguf.h"

#include <algorithm>
#include <cstring>

#include "core/formats/dtype.h"

namespace volery::formats {
namespace {

using Type = GgufValue::Type;

constexpr uint32_t kMagic = 0x46554747;              // "GGUF"
constexpr uint64_t kMinEntryBytes = 8 + 4 + 1;       // key length, type, the smallest value
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, dimensions, type, offset
constexpr uint32_t kMaxDimensions = 4;
constexpr int kMaxNesting = 4;
constexpr uint64_t kDefaultAlignment = 32;

struct TypeRow {
  const char* name;
  uint64_t min_bytes;  // of one value in the file
};
constexpr TypeRow kTypes[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                              {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 8}, {"array", 12},
                              {"u64", 8}, {"i64", 8}, {"f64", 8}};

bool IsUnsigned(Type type) {
  return type == Type::kU8 || type == Type::kU16 || type == Type::kU32 || type == Type::kU64 ||
         type == Type::kBool;
}
bool IsFloat(Type type) {
  return type == Type::kF32 || type == Type::kF64;
}

// Reads forward through the file; every function fails instead of passing its end.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  template <class... Args>
  Status Error(const Args&... args) const {
    return InvalidError(where_, ": at byte ", position_, ": ", args...);
  }

  template <class T>
  StatusOr<T> Read(const char* what) {
    if (left() < sizeof(T)) return Error("the file ends inside ", what, "; is it truncated?");
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  StatusOr<std::string> ReadString(const char* what) {
    VOLERY_ASSIGN_OR_RETURN(uint64_t length, Read<uint64_t>(what));
    if (length > left()) return Error(what, " claims ", length, " bytes, the file has ", left(), " left");
    std::string text(reinterpret_cast<const char*>(bytes_.data() + position_), length);
    position_ += length;
    return text;
  }

  StatusOr<Type> ReadType(const char* what) {
    VOLERY_ASSIGN_OR_RETURN(uint32_t type, Read<uint32_t>(what));
    if (type >= std::size(kTypes)) return Error(what, " has the unknown value type ", type);
    return static_cast<Type>(type);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  uint64_t position_ = 0;
};

StatusOr<uint64_t> ReadUnsigned(Reader& in, Type type) {
  switch (type) {
    case Type::kU8:
      return in.Read<uint8_t>("a value");
    case Type::kU16:
      return in.Read<uint16_t>("a value");
    case Type::kU32:
      return in.Read<uint32_t>("a value");
    case Type::kU64:
      return in.Read<uint64_t>("a value");
    default:
      break;
  }
  VOLERY_ASSIGN_OR_RETURN(uint8_t value, in.Read<uint8_t>("a bool"));
  if (value > 1) return in.Error("a bool holds ", int{value}, " instead of 0 or 1");
  return value;
}

StatusOr<int64_t> ReadSigned(Reader& in, Type type) {
  switch (type) {
    case Type::kI8:
      return in.Read<int8_t>("a value");
    case Type::kI16:
      return in.Read<int16_t>("a value");
    case Type::kI32:
      return in.Read<int32_t>("a value");
    default:
      return in.Read<int64_t>("a value");
  }
}

StatusOr<double> ReadFloat(Reader& in, Type type) {
  if (type == Type::kF64) return in.Read<double>("a value");
  return in.Read<float>("a value");
}

// The file has been found to hold at least the smallest possible `count` values, so reserving is bounded by
// its size.
template <class T, class ReadOne>
StatusOr<GgufValue::Data> ReadMany(uint64_t count, ReadOne read) {
  std::vector<T> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    StatusOr<T> value = read();
    if (!value.ok()) return value.status();
    values.push_back(std::move(value).value());
  }
  return GgufValue::Data(std::move(values));
}

StatusOr<GgufValue> ReadArray(Reader& in, int nesting) {
  if (nesting > kMaxNesting) return in.Error("arrays are nested deeper than ", kMaxNesting, " levels");
  GgufValue value;
  value.type = Type::kArray;
  VOLERY_ASSIGN_OR_RETURN(value.element, in.ReadType("an array"));
  VOLERY_ASSIGN_OR_RETURN(uint64_t count, in.Read<uint64_t>("an array's length"));
  const TypeRow& row = kTypes[static_cast<size_t>(value.element)];
  if (count > in.left() / row.min_bytes) {
    return in.Error("an array claims ", count, " values of type ", row.name, ", the file has ", in.left(),
                    " bytes left");
  }
  const Type type = value.element;
  StatusOr<GgufValue::Data> data =
      type == Type::kString  ? ReadMany<std::string>(count, [&] { return in.ReadString("a string"); })
      : type == Type::kArray ? ReadMany<GgufValue>(count, [&] { return ReadArray(in, nesting + 1); })
      : IsFloat(type)        ? ReadMany<double>(count, [&] { return ReadFloat(in, type); })
      : IsUnsigned(type)     ? ReadMany<uint64_t>(count, [&] { return ReadUnsigned(in, type); })
                             : ReadMany<int64_t>(count, [&] { return ReadSigned(in, type); });
  if (!data.ok()) return data.status();
  value.data = std::move(data).value();
  return value;
}

StatusOr<GgufValue> ReadValue(Reader& in) {
  GgufValue value;
  VOLERY_ASSIGN_OR_RETURN(value.type, in.ReadType("a metadata entry"));
  if (value.type == Type::kArray) return ReadArray(in, 1);
  if (value.type == Type::kString) {
    VOLERY_ASSIGN_OR_RETURN(value.data, in.ReadString("a string"));
  } else if (IsFloat(value.type)) {
    VOLERY_ASSIGN_OR_RETURN(value.data, ReadFloat(in, value.type));
  } else if (IsUnsigned(value.type)) {
    VOLERY_ASSIGN_OR_RETURN(value.data, ReadUnsigned(in, value.type));
  } else {
    VOLERY_ASSIGN_OR_RETURN(value.data, ReadSigned(in, value.type));
  }
  return value;
}

Status ReadHeader(Reader& in, GgufView* view, uint64_t* tensors, uint64_t* entries) {
  VOLERY_ASSIGN_OR_RETURN(uint32_t magic, in.Read<uint32_t>("the magic number"));
  if (magic != kMagic) return in.Error("no GGUF file: it doesn't begin with \"GGUF\"");
  VOLERY_ASSIGN_OR_RETURN(view->version, in.Read<uint32_t>("the version"));
  const uint32_t swapped = __builtin_bswap32(view->version);
  if (swapped == 2 || swapped == 3)
    return in.Error("a big-endian GGUF file; only little-endian ones can be read");
  if (view->version != 2 && view->version != 3) {
    return in.Error("GGUF version ", view->version, "; only 2 and 3 can be read");
  }
  VOLERY_ASSIGN_OR_RETURN(*tensors, in.Read<uint64_t>("the tensor count"));
  VOLERY_ASSIGN_OR_RETURN(*entries, in.Read<uint64_t>("the metadata count"));
  if (*entries > in.left() / kMinEntryBytes) {
    return in.Error("the header claims ", *entries, " metadata entries, the file has ", in.left(),
                    " bytes left");
  }
  if (*tensors > in.left() / kMinTensorBytes) {
    return in.Error("the header claims ", *tensors, " tensors, the file has ", in.left(), " bytes left");
  }
  return OkStatus();
}

Status ReadMetadata(Reader& in, uint64_t count, GgufView* view) {
  for (uint64_t i = 0; i < count; ++i) {
    VOLERY_ASSIGN_OR_RETURN(std::string key, in.ReadString("a metadata key"));
    StatusOr<GgufValue> value = ReadValue(in);
    if (!value.ok()) return Annotate(value.status(), "metadata \"", key, "\"");
    if (!view->metadata.emplace(key, std::move(value).value()).second) {
      return in.Error("metadata key \"", key, "\" stands twice");
    }
  }
  if (view->Has("split.count")) {
    VOLERY_ASSIGN_OR_RETURN(int64_t parts, view->Int("split.count"));
    if (parts > 1) {
      return in.Error("the file is one of ", parts,
                      " parts (split.count); merge them into one file first, e.g. with gguf-split --merge");
    }
  }
  return OkStatus();
}

struct Placed {
  GgufTensor tensor;
  uint64_t offset = 0;
  uint64_t size = 0;
};

Status ReadDimensions(Reader& in, Placed* placed) {
  GgufTensor& tensor = placed->tensor;
  VOLERY_ASSIGN_OR_RETURN(uint32_t dimensions, in.Read<uint32_t>("a tensor's dimension count"));
  if (dimensions > kMaxDimensions)
    return in.Error(dimensions, " dimensions; at most ", kMaxDimensions, " are possible");
  for (uint32_t i = 0; i < dimensions; ++i) {
    VOLERY_ASSIGN_OR_RETURN(uint64_t size, in.Read<uint64_t>("a tensor's shape"));
    if (size > static_cast<uint64_t>(INT64_MAX))
      return in.Error("dimension ", i, " claims ", size, " elements");
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  std::optional<int64_t> count = ElementCount(tensor.shape);
  if (!count) return in.Error("the product of its shape overflows 64 bits");
  tensor.count = *count;
  return OkStatus();
}

Status ReadTensor(Reader& in, Placed* placed) {
  VOLERY_RETURN_IF_ERROR(ReadDimensions(in, placed));
  GgufTensor& tensor = placed->tensor;
  VOLERY_ASSIGN_OR_RETURN(uint32_t id, in.Read<uint32_t>("a tensor's type"));
  std::optional<GgmlTypeInfo> info = FindGgmlType(id);
  if (!info) return in.Error("its element type ", id, " is unknown");
  tensor.type = info->type;
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % info->block != 0) {
    return in.Error("its rows of ", row, " elements are no whole blocks of ", info->name, " (", info->block,
                    " elements)");
  }
  if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.count / info->block),
                             static_cast<uint64_t>(info->block_bytes), &placed->size)) {
    return in.Error("the product of its shape overflows 64 bits");
  }
  VOLERY_ASSIGN_OR_RETURN(placed->offset, in.Read<uint64_t>("a tensor's offset"));
  return OkStatus();
}

StatusOr<std::vector<Placed>> ReadTensors(Reader& in, uint64_t count) {
  std::vector<Placed> all;
  for (uint64_t i = 0; i < count; ++i) {
    Placed placed;
    VOLERY_ASSIGN_OR_RETURN(placed.tensor.name, in.ReadString("a tensor name"));
    Status status = ReadTensor(in, &placed);
    if (!status.ok()) return Annotate(status, "tensor \"", placed.tensor.name, "\"");
    all.push_back(std::move(placed));
  }
  return all;
}

StatusOr<uint64_t> Alignment(const Reader& in, const GgufView& view) {
  if (!view.Has("general.alignment")) return kDefaultAlignment;
  VOLERY_ASSIGN_OR_RETURN(int64_t alignment, view.Int("general.alignment"));
  if (alignment <= 0 || alignment > (int64_t{1} << 30) || (alignment & (alignment - 1)) != 0) {
    return in.Error("general.alignment is ", alignment, "; it must be a power of two");
  }
  return static_cast<uint64_t>(alignment);
}

Status CheckOverlap(const Reader& in, const std::vector<Placed>& tensors) {
  std::vector<const Placed*> order;
  for (const Placed& placed : tensors) order.push_back(&placed);
  std::sort(order.begin(), order.end(), [](const Placed* a, const Placed* b) {
    return std::pair(a->offset, a->size) < std::pair(b->offset, b->size);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->offset + order[i - 1]->size > order[i]->offset) {
      return in.Error("tensors \"", order[i - 1]->tensor.name, "\" and \"", order[i]->tensor.name,
                      "\" overlap");
    }
  }
  return OkStatus();
}

Status PlaceTensors(const Reader& in, std::span<const std::byte> bytes, std::vector<Placed> tensors,
                    GgufView* view) {
  VOLERY_ASSIGN_OR_RETURN(uint64_t alignment, Alignment(in, *view));
  const uint64_t start = (in.position() + alignment - 1) / alignment * alignment;
  const uint64_t size = start < bytes.size() ? bytes.size() - start : 0;
  for (const Placed& placed : tensors) {
    if (placed.offset % alignment != 0) {
      return in.Error("tensor \"", placed.tensor.name, "\" has offset ", placed.offset,
                      ", no multiple of the alignment ", alignment);
    }
    if (placed.offset > size || placed.size > size - placed.offset) {
      return in.Error("tensor \"", placed.tensor.name, "\" needs ", placed.size, " bytes at offset ",
                      placed.offset, " of the data, the file has ", size, " bytes of it; is it truncated?");
    }
  }
  VOLERY_RETURN_IF_ERROR(CheckOverlap(in, tensors));
  for (Placed& placed : tensors) {
    if (placed.size > 0) placed.tensor.bytes = bytes.subspan(start + placed.offset, placed.size);
    if (!view->by_name.emplace(placed.tensor.name, view->tensors.size()).second) {
      return in.Error("tensor \"", placed.tensor.name, "\" stands twice");
    }
    view->tensors.push_back(std::move(placed.tensor));
  }
  return OkStatus();
}

Status WrongType(const GgufView& view, std::string_view key, const GgufValue& value, const char* wanted) {
  return InvalidError(view.where, ": metadata \"", key, "\" is of type ", GgufTypeName(value.type),
                      value.type == Type::kArray ? Cat(" of ", GgufTypeName(value.element)) : "",
                      ", expected ", wanted);
}

StatusOr<const GgufValue*> Look(const GgufView& view, std::string_view key) {
  auto found = view.metadata.find(key);
  if (found == view.metadata.end()) return NotFoundError(view.where, ": no metadata \"", key, "\"");
  return &found->second;
}

}  // namespace

const char* GgufTypeName(GgufValue::Type type) {
  return kTypes[static_cast<size_t>(type)].name;
}

StatusOr<GgufView> ParseGguf(std::span<const std::byte> bytes, const std::string& where) {
  GgufView view;
  view.where = where;
  Reader in(bytes, where);
  uint64_t tensor_count = 0, entries = 0;
  VOLERY_RETURN_IF_ERROR(ReadHeader(in, &view, &tensor_count, &entries));
  VOLERY_RETURN_IF_ERROR(ReadMetadata(in, entries, &view));
  VOLERY_ASSIGN_OR_RETURN(std::vector<Placed> tensors, ReadTensors(in, tensor_count));
  VOLERY_RETURN_IF_ERROR(PlaceTensors(in, bytes, std::move(tensors), &view));
  return view;
}

const GgufTensor* GgufView::Find(std::string_view name) const {
  auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : &tensors[found->second];
}

StatusOr<int64_t> GgufView::Int(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* number = std::get_if<int64_t>(&value->data)) return *number;
  auto* number = std::get_if<uint64_t>(&value->data);
  if (number == nullptr) return WrongType(*this, key, *value, "an integer");
  if (*number > static_cast<uint64_t>(INT64_MAX))
    return InvalidError(where, ": metadata \"", key, "\" is too large: ", *number);
  return static_cast<int64_t>(*number);
}

StatusOr<double> GgufView::Float(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* number = std::get_if<double>(&value->data)) return *number;
  if (auto* number = std::get_if<int64_t>(&value->data)) return static_cast<double>(*number);
  if (auto* number = std::get_if<uint64_t>(&value->data)) return static_cast<double>(*number);
  return WrongType(*this, key, *value, "a number");
}

StatusOr<bool> GgufView::Bool(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (value->type != Type::kBool) return WrongType(*this, key, *value, "a bool");
  return std::get<uint64_t>(value->data) != 0;
}

StatusOr<std::string> GgufView::String(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* text = std::get_if<std::string>(&value->data)) return *text;
  return WrongType(*this, key, *value, "a string");
}

StatusOr<std::vector<int64_t>> GgufView::Ints(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* numbers = std::get_if<std::vector<int64_t>>(&value->data)) return *numbers;
  auto* numbers = std::get_if<std::vector<uint64_t>>(&value->data);
  if (numbers == nullptr) return WrongType(*this, key, *value, "an array of integers");
  if (std::any_of(numbers->begin(), numbers->end(),
                  [](uint64_t n) { return n > static_cast<uint64_t>(INT64_MAX); })) {
    return InvalidError(where, ": metadata \"", key, "\" holds a number above 2^63 - 1");
  }
  return std::vector<int64_t>(numbers->begin(), numbers->end());
}

StatusOr<std::vector<double>> GgufView::Floats(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* numbers = std::get_if<std::vector<double>>(&value->data)) return *numbers;
  if (auto* numbers = std::get_if<std::vector<int64_t>>(&value->data))
    return std::vector<double>(numbers->begin(), numbers->end());
  if (auto* numbers = std::get_if<std::vector<uint64_t>>(&value->data))
    return std::vector<double>(numbers->begin(), numbers->end());
  return WrongType(*this, key, *value, "an array of numbers");
}

StatusOr<std::vector<std::string>> GgufView::Strings(std::string_view key) const {
  VOLERY_ASSIGN_OR_RETURN(const GgufValue* value, Look(*this, key));
  if (auto* texts = std::get_if<std::vector<std::string>>(&value->data)) return *texts;
  return WrongType(*this, key, *value, "an array of strings");
}

}  // namespace volery::formats
