#include "core/formats/torch_file_writer.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/formats/torch_globals.h"
#include "core/formats/torch_pickle.h"

namespace volery::formats {
namespace {

constexpr char kFolder[] =
    "archive/";  // any name will do; a fixed one keeps the bytes independent of the path
constexpr uint64_t kAlignment = 64;

// Opcodes of protocol 2. Objects that come again are kept in memo slots, numbered as they first appear.
class PickleWriter {
 public:
  void Raw(std::string_view bytes) { out_ += bytes; }

  void Text(std::string_view text) {
    out_ += 'X';
    Number(text.size(), 4);
    out_ += text;
  }

  void Int(int64_t value) {
    const bool unsigned16 = value >= 0 && value <= 0xffff;
    const bool signed32 = value == static_cast<int32_t>(value);
    out_ += unsigned16 ? (value <= 0xff ? "K" : "M") : (signed32 ? "J" : "\x8a\x08");
    Number(static_cast<uint64_t>(value), unsigned16 ? (value <= 0xff ? 1 : 2) : (signed32 ? 4 : 8));
  }

  void Tuple(const std::vector<int64_t>& values) {
    if (values.empty()) return Raw(")");
    Raw("(");
    for (int64_t value : values) Int(value);
    Raw("t");
  }

  void Global(const std::string& module, const std::string& name) {
    if (!Again(module + "\n" + name + "\n")) Remember("c" + module + "\n" + name + "\n");
  }

  void SharedText(const std::string& text) {
    if (Again(text)) return;
    Text(text);
    Remember("");
  }

  std::string Take() { return std::move(out_); }

 private:
  bool Again(const std::string& key) {
    auto [found, added] = memo_.emplace(key, memo_.size());
    if (added) return false;
    out_ += 'h';
    Number(found->second, 1);
    return true;
  }

  // What Again has just missed: its bytes, and the slot that it got.
  void Remember(const std::string& bytes) {
    out_ += bytes;
    out_ += 'q';
    Number(memo_.size() - 1, 1);
  }

  void Number(uint64_t value, size_t width) { out_.append(reinterpret_cast<const char*>(&value), width); }

  std::string out_;
  std::map<std::string, size_t> memo_;  // some twenty entries
};

std::vector<int64_t> RowMajorStrides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  return strides;
}

void PutTensor(const TorchDeclaration& tensor, size_t key, PickleWriter* out) {
  const TorchTypeName type = TorchTypeNameOf(tensor.dtype);
  const bool own_storage = type.storage[0] != '\0';
  const int64_t count = *ElementCount(tensor.shape);
  out->Global("torch._utils", own_storage ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
  out->Raw("((");
  out->SharedText("storage");
  out->Global(own_storage ? "torch" : "torch.storage", own_storage ? type.storage : "UntypedStorage");
  out->Text(std::to_string(key));
  out->SharedText("cpu");
  out->Int(own_storage ? count : count * static_cast<int64_t>(DTypeSize(tensor.dtype)));
  out->Raw("tQ");
  out->Int(0);
  out->Tuple(tensor.shape);
  out->Tuple(RowMajorStrides(tensor.shape));
  out->Raw("\x89");  // requires_grad
  out->Global("collections", "OrderedDict");
  out->Raw(")R");
  if (!own_storage) out->Global("torch", type.dtype);
  out->Raw("tR");
}

Status CheckNames(const std::vector<TorchDeclaration>& tensors) {
  std::set<std::string_view> seen;
  for (const TorchDeclaration& tensor : tensors) {
    if (!seen.insert(tensor.name).second) return InvalidError("tensor name \"", tensor.name, "\" is taken");
    if (!ByteCount(tensor.dtype, tensor.shape)) {
      return InvalidError("tensor \"", tensor.name, "\": negative or too large a shape");
    }
    try {
      nlohmann::json(tensor.name).dump();
    } catch (const nlohmann::json::exception& e) {
      return InvalidError("a tensor name can't be written: ", e.what());
    }
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::string> TorchPickle(const std::vector<TorchDeclaration>& tensors) {
  VOLERY_RETURN_IF_ERROR(CheckNames(tensors));
  PickleWriter out;
  out.Raw("\x80\x02}(");
  for (size_t i = 0; i < tensors.size(); ++i) {
    out.Text(tensors[i].name);
    PutTensor(tensors[i], i, &out);
  }
  out.Raw("u.");
  std::string pickle = out.Take();
  if (pickle.size() > kMaxPickleBytes)
    return InvalidError(tensors.size(), " tensors are too many for one file");
  return pickle;
}

StatusOr<std::unique_ptr<TorchFileWriter>> TorchFileWriter::Open(const std::string& path,
                                                                 std::vector<TorchDeclaration> tensors) {
  const StatusOr<std::string> pickle = TorchPickle(tensors);
  if (!pickle.ok()) return Annotate(pickle.status(), path);
  VOLERY_ASSIGN_OR_RETURN(auto zip, ZipWriter::Create(path));
  VOLERY_RETURN_IF_ERROR(zip->Add(Cat(kFolder, "data.pkl"), std::as_bytes(std::span(*pickle)), kAlignment));
  VOLERY_RETURN_IF_ERROR(
      zip->Add(Cat(kFolder, "byteorder"), std::as_bytes(std::span(std::string_view("little"))), kAlignment));
  return std::unique_ptr<TorchFileWriter>(new TorchFileWriter(std::move(tensors), std::move(zip)));
}

Status TorchFileWriter::Write(std::span<const std::byte> bytes) {
  const std::string& path = zip_->path();
  if (!zip_->open() || next_ == tensors_.size()) {
    return PreconditionError(path, ": more tensors written than the ", tensors_.size(), " declared");
  }
  const TorchDeclaration& tensor = tensors_[next_];
  const int64_t need = *ByteCount(tensor.dtype, tensor.shape);
  if (static_cast<int64_t>(bytes.size()) != need) {
    return InvalidError(path, ": tensor \"", tensor.name, "\" was declared with ", need, " bytes, got ",
                        bytes.size());
  }
  return zip_->Add(Cat(kFolder, "data/", next_++), bytes, kAlignment);
}

Status TorchFileWriter::Finish() {
  if (!zip_->open()) return PreconditionError(zip_->path(), ": finished already");
  if (next_ != tensors_.size()) {
    return PreconditionError(zip_->path(), ": tensor \"", tensors_[next_].name,
                             "\" was declared but never written");
  }
  VOLERY_RETURN_IF_ERROR(
      zip_->Add(Cat(kFolder, "version"), std::as_bytes(std::span(std::string_view("3\n"))), kAlignment));
  return zip_->Finish();
}

}  // namespace volery::formats
