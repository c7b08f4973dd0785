#pragma once
// Writes a PyTorch checkpoint (a dict of tensors, .pth) tensor by tensor, so that a model never stands in
// memory twice. torch.load(weights_only=True) reads it, also with mmap=True. The same declarations and bytes
// give the same file, byte for byte; each tensor begins at a multiple of 64 bytes. Makes no temporary and no
// rename: for a durable file call it inside base::WriteFileAtomicWith.
//
//   VOLERY_ASSIGN_OR_RETURN(auto writer, TorchFileWriter::Open(path, {{"emb.weight", DType::kBf16, {65536,
//   768}}})); VOLERY_RETURN_IF_ERROR(writer->Write(bytes_of_emb)); VOLERY_RETURN_IF_ERROR(writer->Finish());

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"
#include "core/formats/zip_writer.h"

namespace volery::formats {

struct TorchDeclaration {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

// The pickle (protocol 2) of a plain dict of these tensors, each with a storage of its own, named "0", "1"
// ... Errors: a name that comes twice or isn't UTF-8; a shape that is negative or overflows.
StatusOr<std::string> TorchPickle(const std::vector<TorchDeclaration>& tensors);

// One thread at a time.
class TorchFileWriter {
 public:
  // Creates or empties `path`; tensors lie in the file, and stand in the dict, as declared.
  static StatusOr<std::unique_ptr<TorchFileWriter>> Open(const std::string& path,
                                                         std::vector<TorchDeclaration> tensors);

  // All bytes of the next declared tensor (row-major, little endian). Errors: wrong length, more tensors than
  // declared, the disk.
  Status Write(std::span<const std::byte> bytes);
  // Writes the table of contents, flushes and closes; fails if a declared tensor is missing. Without it the
  // file is incomplete and nothing reads it.
  Status Finish();

 private:
  TorchFileWriter(std::vector<TorchDeclaration> tensors, std::unique_ptr<ZipWriter> zip)
      : tensors_(std::move(tensors)), zip_(std::move(zip)) {}

  const std::vector<TorchDeclaration> tensors_;
  std::unique_ptr<ZipWriter> zip_;
  size_t next_ = 0;
};

}  // namespace volery::formats
