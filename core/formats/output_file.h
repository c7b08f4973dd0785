#pragma once
// A file that is written from front to back, with errors as Status: what the streaming writers of this folder
// share. Makes no temporary, no fsync and no rename.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace volery::formats {

// One thread at a time.
class OutputFile {
 public:
  // Creates or empties `path`. Errors name it and the operating system's reason; ResourceExhausted: the disk
  // is full.
  static StatusOr<std::unique_ptr<OutputFile>> Create(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view bytes) { return Write(std::as_bytes(std::span(bytes))); }
  // Flushes and closes; nothing can be written afterwards. Fails too when an earlier write did.
  // FailedPrecondition: closed already.
  Status Close();

  bool open() const { return file_ != nullptr; }
  uint64_t position() const { return position_; }  // bytes written so far
  const std::string& path() const { return path_; }

 private:
  OutputFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  const std::string path_;
  std::FILE* file_;
  uint64_t position_ = 0;
  Status written_;  // of the first write that failed
};

}  // namespace volery::formats
