#pragma once
// Writes a safetensors file tensor by tensor, so that a model never stands in memory twice. The same
// declarations and bytes give the same file, byte for byte. Makes no temporary and no rename: for a durable
// file call it inside base::WriteFileAtomicWith.
//
//   VOLERY_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Open(path, {{"w", DType::kF32, {2, 3}}}, {}));
//   VOLERY_RETURN_IF_ERROR(writer->Write(bytes_of_w));
//   VOLERY_RETURN_IF_ERROR(writer->Finish());

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"

namespace volery::formats {

struct SafetensorsDeclaration {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

// The header with its 8 length bytes: metadata is {"format": "pt"} and `metadata`. Errors: a name that comes
// twice, is reserved or isn't UTF-8; a shape that overflows.
StatusOr<std::string> SafetensorsHeader(const std::vector<SafetensorsDeclaration>& tensors,
                                        const std::map<std::string, std::string>& metadata);

// One thread at a time.
class SafetensorsWriter {
 public:
  // Creates or empties `path` and writes the header; tensors lie in the file as declared (declare wide
  // element types first where alignment matters to a reader).
  static StatusOr<std::unique_ptr<SafetensorsWriter>> Open(
      const std::string& path, std::vector<SafetensorsDeclaration> tensors,
      const std::map<std::string, std::string>& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // All bytes of the next declared tensor. Errors: wrong length, more tensors than declared, the disk.
  Status Write(std::span<const std::byte> bytes);
  // Flushes and closes; fails if a declared tensor is missing. Without it the file is incomplete.
  Status Finish();

 private:
  SafetensorsWriter(std::string path, std::vector<SafetensorsDeclaration> tensors, std::FILE* file);
  Status WriteBytes(const void* data, size_t size);

  const std::string path_;
  const std::vector<SafetensorsDeclaration> tensors_;
  std::FILE* file_;
  size_t next_ = 0;
};

}  // namespace volery::formats
