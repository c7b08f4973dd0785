#include "core/formats/output_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace volery::formats {
namespace {

Status DiskError(const std::string& path, const char* what) {
  const int code = errno;
  const std::string message = Cat(path, ": ", what, ": ", std::strerror(code));
  return code == ENOSPC || code == EDQUOT ? ResourceError(message, "; free some space and try again")
                                          : InternalError(message);
}

}  // namespace

StatusOr<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return DiskError(path, "can't create the file");
  return std::unique_ptr<OutputFile>(new OutputFile(path, file));
}

OutputFile::~OutputFile() {
  if (file_ != nullptr) std::fclose(file_);
}

Status OutputFile::Write(std::span<const std::byte> bytes) {
  if (file_ == nullptr) return PreconditionError(path_, ": written to after it was closed");
  if (!written_.ok() || bytes.empty()) return written_;
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    return written_ = DiskError(path_, "can't write");
  }
  position_ += bytes.size();
  return OkStatus();
}

Status OutputFile::Close() {
  if (file_ == nullptr) return PreconditionError(path_, ": closed already");
  std::FILE* file = std::exchange(file_, nullptr);
  if (std::fclose(file) != 0 && written_.ok()) return DiskError(path_, "can't write");
  return written_;
}

}  // namespace volery::formats
