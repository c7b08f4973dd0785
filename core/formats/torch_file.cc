#include "core/formats/torch_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "core/formats/printable.h"
#include "core/formats/torch_pickle.h"
#include "core/formats/zip_reader.h"

namespace volery::formats {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::string_view kZipMark = "PK\x03\x04";
// The first pickle of the old format: protocol 2, an integer of ten bytes.
constexpr std::string_view kLegacyMark = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.";
constexpr int kNewestVersion = 10;
constexpr size_t kMaxFolder = 1024;
constexpr size_t kMaxEntries = 1'000'000;  // of all dicts together
constexpr size_t kMaxNames = 64 << 20;     // bytes of all names together

std::string_view Text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status NoZip(Bytes bytes, const std::string& where) {
  const std::string_view text = Text(bytes);
  if (text.starts_with(kLegacyMark)) {
    return InvalidError(
        where, ": is in PyTorch's format from before version 1.6, which volery doesn't read; save it ",
        "again in Python: torch.save(torch.load(path, weights_only=True), new_path)");
  }
  if (text.starts_with("\x80")) {
    return InvalidError(where,
                        ": is a bare pickle, which could run code when loaded; save a dict of tensors with ",
                        "torch.save");
  }
  return InvalidError(where, ": is no PyTorch checkpoint: it doesn't begin like a zip file");
}

bool IsUtf8(std::string_view text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// The entries of one checkpoint, without the folder that all of them stand in.
class Archive {
 public:
  static StatusOr<Archive> Open(Bytes bytes, const std::string& where) {
    VOLERY_ASSIGN_OR_RETURN(ZipView zip, ParseZip(bytes, where));
    if (zip.entries.empty()) return InvalidError(where, ": the zip file is empty");
    const std::string_view first = zip.entries.front().name;
    const size_t slash = first.find('/');
    if (slash == std::string_view::npos || slash > kMaxFolder) {
      return InvalidError(where, ": zip entry \"", Printable(first),
                          "\" doesn't stand in a folder; this is no PyTorch checkpoint");
    }
    Archive archive(std::move(zip), std::string(first.substr(0, slash + 1)), where);
    VOLERY_RETURN_IF_ERROR(archive.CheckKind());
    return archive;
  }

  // `at` names the file, or the tensor that needs the entry, in messages.
  StatusOr<Bytes> Get(std::string_view name, const std::string& at) const {
    const ZipEntry* entry = zip_.Find(prefix_ + std::string(name));
    if (entry == nullptr) {
      return InvalidError(at, ": there is no zip entry \"", Printable(prefix_), Printable(name),
                          "\"; this is no complete PyTorch checkpoint");
    }
    if (entry->compressed) {
      return InvalidError(
          at, ": zip entry \"", Printable(entry->name),
          "\" is compressed, which torch.save never does; unpack the file and zip it with `zip -0 -r`, ",
          "or save it again");
    }
    return entry->bytes;
  }

 private:
  Archive(ZipView zip, std::string prefix, const std::string& where)
      : zip_(std::move(zip)), prefix_(std::move(prefix)), where_(where) {}

  bool Has(std::string_view name) const { return zip_.Find(prefix_ + std::string(name)) != nullptr; }

  Status CheckKind() const {
    if (Has("constants.pkl")) {
      return InvalidError(
          where_, ": is a TorchScript program, not a checkpoint; save model.state_dict() with torch.save");
    }
    if (Has("byteorder")) {
      VOLERY_ASSIGN_OR_RETURN(const Bytes order, Get("byteorder", where_));
      if (Text(order) != "little") {
        return InvalidError(where_, ": its byte order is \"", Printable(Text(order)),
                            "\"; only \"little\" is read");
      }
    }
    if (!Has("version")) return OkStatus();
    VOLERY_ASSIGN_OR_RETURN(const Bytes bytes, Get("version", where_));
    std::string_view version = Text(bytes);
    while (!version.empty() && version.back() == '\n') version.remove_suffix(1);
    int number = 0;
    for (char c : version)
      number = c < '0' || c > '9' || number > kNewestVersion ? kNewestVersion + 1 : 10 * number + c - '0';
    if (number < 1 || number > kNewestVersion) {
      return InvalidError(where_, ": its format version is \"", Printable(version), "\"; versions 1 to ",
                          kNewestVersion, " are read");
    }
    return OkStatus();
  }

  ZipView zip_;
  std::string prefix_;
  std::string where_;
};

// False where the strides aren't those of row-major order; strides of single rows and of empty tensors don't
// matter.
bool IsContiguous(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  if (ElementCount(shape) == 0) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::string ListOf(const std::vector<int64_t>& numbers) {
  std::string out = "[";
  for (int64_t number : numbers) out += Cat(out.size() > 1 ? ", " : "", number);
  return out + "]";
}

class ViewBuilder {
 public:
  ViewBuilder(const Archive& archive, const Pickle& pickle, const std::string& where)
      : archive_(archive), pickle_(pickle), where_(where) {}

  StatusOr<TorchFileView> Build() {
    const PickleNode& root = pickle_.at(pickle_.root);
    if (root.kind != PickleKind::kDict) {
      return InvalidError(where_, ": holds ", Describe(root),
                          ", not a dict of tensors; save model.state_dict()");
    }
    VOLERY_RETURN_IF_ERROR(AddDict(root, ""));
    return std::move(view_);
  }

 private:
  Status AddDict(const PickleNode& dict, const std::string& group) {
    std::set<std::string_view> seen;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleNode& key = pickle_.at(dict.items[i]);
      const PickleNode& value = pickle_.at(dict.items[i + 1]);
      if (++entries_ > kMaxEntries)
        return InvalidError(where_, ": holds more than ", kMaxEntries, " entries");
      if (key.kind != PickleKind::kString) {
        view_.skipped.push_back({"(a key that is no text)", group, Describe(value)});
        continue;
      }
      names_ += key.text.size() + group.size();
      if (names_ > kMaxNames)
        return InvalidError(where_, ": its names are longer than ", kMaxNames, " bytes together");
      if (!seen.insert(key.text).second) {
        return InvalidError(where_, ": key \"", Printable(key.text), "\" stands twice in one dict");
      }
      VOLERY_RETURN_IF_ERROR(AddEntry(std::string(key.text), value, group));
    }
    return OkStatus();
  }

  Status AddEntry(const std::string& name, const PickleNode& value, const std::string& group) {
    if (value.kind == PickleKind::kDict && !in_group_) return AddGroup(name, value);
    if (value.kind != PickleKind::kTensor) {
      view_.skipped.push_back({name, group, Describe(value)});
      return OkStatus();
    }
    const std::string at =
        Cat(where_, ": tensor \"", Printable(group), group.empty() ? "" : "/", Printable(name), "\"");
    if (!IsUtf8(name)) return InvalidError(at, ": the name isn't UTF-8");
    TorchTensor tensor{name, group, *value.dtype, {}, {}};
    VOLERY_RETURN_IF_ERROR(ReadTensor(value, at, &tensor));
    view_.by_name[{group, name}] = view_.tensors.size();
    view_.tensors.push_back(std::move(tensor));
    return OkStatus();
  }

  Status AddGroup(const std::string& name, const PickleNode& dict) {
    if (name.empty() || !IsUtf8(name)) {
      return InvalidError(where_, ": a dict stands under the key \"", Printable(name),
                          "\", which is empty or no UTF-8");
    }
    in_group_ = true;
    VOLERY_RETURN_IF_ERROR(AddDict(dict, name));
    in_group_ = false;
    return OkStatus();
  }

  std::vector<int64_t> Numbers(PickleId tuple) const {
    std::vector<int64_t> numbers;
    for (PickleId item : pickle_.at(tuple).items) numbers.push_back(pickle_.at(item).number);
    return numbers;
  }

  Status ReadTensor(const PickleNode& node, const std::string& at, TorchTensor* tensor) const {
    VOLERY_ASSIGN_OR_RETURN(const Bytes storage, Storage(pickle_.at(node.items[0]), at));
    tensor->shape = Numbers(node.items[1]);
    const std::vector<int64_t> strides = Numbers(node.items[2]);
    const std::optional<int64_t> need = ByteCount(tensor->dtype, tensor->shape);
    if (!need) return InvalidError(at, " has the impossible shape ", ListOf(tensor->shape));
    if (!IsContiguous(tensor->shape, strides)) {
      return InvalidError(at, " of shape ", ListOf(tensor->shape), " isn't contiguous (strides ",
                          ListOf(strides), "); save tensor.contiguous() instead");
    }
    const auto size = static_cast<int64_t>(storage.size());
    int64_t begin = 0;
    if (node.number < 0 ||
        __builtin_mul_overflow(node.number, static_cast<int64_t>(DTypeSize(tensor->dtype)), &begin) ||
        begin > size || *need > size - begin) {
      return InvalidError(at, " of shape ", ListOf(tensor->shape), " at offset ", node.number,
                          " leaves its storage of ", size, " bytes");
    }
    tensor->bytes = storage.subspan(static_cast<size_t>(begin), static_cast<size_t>(*need));
    return OkStatus();
  }

  StatusOr<Bytes> Storage(const PickleNode& node, const std::string& at) const {
    VOLERY_ASSIGN_OR_RETURN(const Bytes bytes, archive_.Get(Cat("data/", node.text), at));
    const int64_t element = node.dtype ? static_cast<int64_t>(DTypeSize(*node.dtype)) : 1;
    int64_t need = 0;
    if (node.number < 0 || __builtin_mul_overflow(node.number, element, &need) ||
        need != static_cast<int64_t>(bytes.size())) {
      return InvalidError(at, ": its storage \"", Printable(node.text), "\" should have ", node.number,
                          " elements of ", element, " bytes but the file holds ", bytes.size(),
                          " bytes of it");
    }
    return bytes;
  }

  std::string Describe(const PickleNode& node) const {
    switch (node.kind) {
      case PickleKind::kNone:
        return "None";
      case PickleKind::kBool:
        return node.number != 0 ? "True" : "False";
      case PickleKind::kInt:
        return Cat("the integer ", node.number);
      case PickleKind::kFloat:
        return Cat("the number ", node.real);
      case PickleKind::kString:
        return Cat("the text \"", Printable(node.text), "\"");
      case PickleKind::kTuple:
        return Cat("a tuple of ", node.items.size());
      case PickleKind::kList:
        return Cat("a list of ", node.items.size());
      case PickleKind::kDict:
        return Cat("a dict of ", node.items.size() / 2);
      case PickleKind::kTensor:
        return "a tensor";
      default:
        return "another value";
    }
  }

  const Archive& archive_;
  const Pickle& pickle_;
  const std::string& where_;
  TorchFileView view_;
  size_t entries_ = 0, names_ = 0;
  bool in_group_ = false;
};

}  // namespace

const TorchTensor* TorchFileView::Find(const std::string& name, const std::string& group) const {
  auto found = by_name.find({group, name});
  return found == by_name.end() ? nullptr : &tensors[found->second];
}

bool LooksLikeTorchFile(std::span<const std::byte> bytes) {
  const std::string_view text = Text(bytes.subspan(0, std::min(bytes.size(), kLegacyMark.size())));
  return text.starts_with(kZipMark) || text == kLegacyMark;
}

StatusOr<TorchFileView> ParseTorchFile(std::span<const std::byte> bytes, const std::string& where) {
  if (!Text(bytes).starts_with(kZipMark)) return NoZip(bytes, where);
  VOLERY_ASSIGN_OR_RETURN(const Archive archive, Archive::Open(bytes, where));
  VOLERY_ASSIGN_OR_RETURN(const Bytes data, archive.Get("data.pkl", where));
  VOLERY_ASSIGN_OR_RETURN(const Pickle pickle, ReadTorchPickle(data, where));
  return ViewBuilder(archive, pickle, where).Build();
}

}  // namespace volery::formats
