#pragma once
// Writes a zip file of stored (never compressed) entries from front to back, each beginning at a multiple of
// some alignment, the way PyTorch lays out its checkpoints. The same entries give the same bytes; dates are
// 1980-01-01. Entries, offsets and counts beyond 32 and 16 bits are written as zip64.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/formats/output_file.h"

namespace volery::formats {

struct ZipRecord {
  std::string name;
  uint32_t crc = 0;
  uint64_t size = 0;
  uint64_t header = 0;  // where its local header begins
};

// The parts of a zip file as bytes. The local header is padded so that the data behind it begin at a multiple
// of `alignment` (a power of two, 4 to 4096).
std::string ZipLocalHeader(const ZipRecord& record, uint64_t alignment);
std::string ZipDirectoryEntry(const ZipRecord& record);
// Behind a directory of `count` entries and `size` bytes at `begin`: the zip64 end record, its locator, the
// end record.
std::string ZipEnd(uint64_t count, uint64_t size, uint64_t begin);

// One thread at a time.
class ZipWriter {
 public:
  // Creates or empties `path`.
  static StatusOr<std::unique_ptr<ZipWriter>> Create(const std::string& path);

  // One entry, whole. Errors: an empty name or one of 64 KiB or more; the disk.
  Status Add(const std::string& name, std::span<const std::byte> bytes, uint64_t alignment);
  // Writes the directory and closes. Without it nothing reads the file.
  Status Finish();

  bool open() const { return file_->open(); }
  const std::string& path() const { return file_->path(); }

 private:
  explicit ZipWriter(std::unique_ptr<OutputFile> file) : file_(std::move(file)) {}

  std::unique_ptr<OutputFile> file_;
  std::vector<ZipRecord> records_;
};

}  // namespace volery::formats
