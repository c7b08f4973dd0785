#pragma once
// The table of contents of a zip file, as far as PyTorch's checkpoints need it: which entry holds which bytes
// of the file. Knows zip64, data descriptors and padding; unpacks nothing (a compressed entry shows its
// packed bytes). Checksums aren't checked: torch writes zeros for them on request.
//
//   VOLERY_ASSIGN_OR_RETURN(ZipView zip, ParseZip(file->bytes(), path));
//   const ZipEntry* pickle = zip.Find("archive/data.pkl");   // lives as long as `file`

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace volery::formats {

struct ZipEntry {
  std::string_view name;             // points into the file
  bool compressed = false;           // then `bytes` are packed
  uint64_t header = 0;               // where its local header begins
  std::span<const std::byte> bytes;  // of the file; starts at any alignment
};

struct ZipView {
  std::vector<ZipEntry> entries;  // in the order of the directory
  std::map<std::string_view, size_t> by_name;

  const ZipEntry* Find(std::string_view name) const;  // nullptr if absent
};

// `where` names the file in messages. InvalidArgument: no end record, counts or offsets that leave the file,
// entries that overlap, a name twice, local headers that say something else than the directory, encryption,
// several disks. Memory and time are linear in the size of the directory. Thread-safe.
StatusOr<ZipView> ParseZip(std::span<const std::byte> bytes, const std::string& where);

}  // namespace volery::formats
