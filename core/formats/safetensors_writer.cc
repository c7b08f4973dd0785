#include "core/formats/safetensors_writer.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

namespace volery::formats {
namespace {

using nlohmann::ordered_json;

Status DiskError(const std::string& path, const char* what) {
  const int code = errno;
  const std::string message = Cat(path, ": ", what, ": ", std::strerror(code));
  return code == ENOSPC || code == EDQUOT ? ResourceError(message, "; free some space and try again")
                                          : InternalError(message);
}

}  // namespace

StatusOr<std::string> SafetensorsHeader(const std::vector<SafetensorsDeclaration>& tensors,
                                        const std::map<std::string, std::string>& metadata) {
  ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t offset = 0;
  std::set<std::string> seen = {"__metadata__"};
  std::string text;
  try {
    text = header.dump();
    text.pop_back();
    for (const SafetensorsDeclaration& tensor : tensors) {
      if (!seen.insert(tensor.name).second) return InvalidError("tensor name \"", tensor.name, "\" is taken");
      std::optional<int64_t> bytes = ByteCount(tensor.dtype, tensor.shape);
      int64_t end = 0;
      if (!bytes || __builtin_add_overflow(offset, *bytes, &end)) {
        return InvalidError("tensor \"", tensor.name, "\": negative or too large a shape");
      }
      const ordered_json entry = {
          {"dtype", DTypeName(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
      text += "," + ordered_json(tensor.name).dump() + ":" + entry.dump();
      offset = end;
    }
  } catch (const ordered_json::exception& e) {
    return InvalidError("a tensor name or metadata entry can't be written: ", e.what());
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + text;
}

SafetensorsWriter::SafetensorsWriter(std::string path, std::vector<SafetensorsDeclaration> tensors,
                                     std::FILE* file)
    : path_(std::move(path)), tensors_(std::move(tensors)), file_(file) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Open(
    const std::string& path, std::vector<SafetensorsDeclaration> tensors,
    const std::map<std::string, std::string>& metadata) {
  StatusOr<std::string> header = SafetensorsHeader(tensors, metadata);
  if (!header.ok()) return Annotate(header.status(), path);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return DiskError(path, "can't create the file");
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path, std::move(tensors), file));
  VOLERY_RETURN_IF_ERROR(writer->WriteBytes(header->data(), header->size()));
  return writer;
}

Status SafetensorsWriter::Write(std::span<const std::byte> bytes) {
  if (file_ == nullptr || next_ == tensors_.size()) {
    return PreconditionError(path_, ": more tensors written than the ", tensors_.size(), " declared");
  }
  const SafetensorsDeclaration& tensor = tensors_[next_];
  const int64_t need = *ByteCount(tensor.dtype, tensor.shape);
  if (static_cast<int64_t>(bytes.size()) != need) {
    return InvalidError(path_, ": tensor \"", tensor.name, "\" was declared with ", need, " bytes, got ",
                        bytes.size());
  }
  ++next_;
  return WriteBytes(bytes.data(), bytes.size());
}

Status SafetensorsWriter::Finish() {
  if (file_ == nullptr) return PreconditionError(path_, ": finished already");
  if (next_ != tensors_.size()) {
    return PreconditionError(path_, ": tensor \"", tensors_[next_].name, "\" was declared but never written");
  }
  std::FILE* file = std::exchange(file_, nullptr);
  return std::fclose(file) == 0 ? OkStatus() : DiskError(path_, "can't write");
}

Status SafetensorsWriter::WriteBytes(const void* data, size_t size) {
  if (size == 0) return OkStatus();
  return std::fwrite(data, 1, size, file_) == size ? OkStatus() : DiskError(path_, "can't write");
}

}  // namespace volery::formats
