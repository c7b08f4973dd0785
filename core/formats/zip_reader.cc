#include "core/formats/zip_reader.h"

#include <algorithm>
#include <cstring>

#include "core/formats/printable.h"

namespace volery::formats {
namespace {

constexpr uint32_t kLocalMark = 0x04034b50, kCentralMark = 0x02014b50, kEndMark = 0x06054b50;
constexpr uint32_t kEnd64Mark = 0x06064b50, kLocatorMark = 0x07064b50;
constexpr uint64_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocatorSize = 20;
constexpr uint64_t kMaxComment = 0xffff;
constexpr uint16_t kFull16 = 0xffff;
constexpr uint32_t kFull32 = 0xffffffff;
constexpr uint16_t kEncrypted = 1, kSizesFollow = 8;
constexpr uint16_t kStored = 0;
constexpr uint16_t kZip64Extra = 1;

using Bytes = std::span<const std::byte>;

// The caller has checked that the bytes are there.
template <class T>
T Load(Bytes bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

struct Directory {
  uint64_t begin = 0, size = 0, count = 0;
};

// Where the end record begins; its comment must reach exactly to the end of the file.
StatusOr<uint64_t> FindEnd(Bytes file, const std::string& where) {
  if (file.size() >= kEndSize) {
    const uint64_t last = file.size() - kEndSize;
    for (uint64_t back = 0; back <= std::min(last, kMaxComment); ++back) {
      const uint64_t at = last - back;
      if (Load<uint32_t>(file, at) == kEndMark && Load<uint16_t>(file, at + 20) == back) return at;
    }
  }
  return InvalidError(where, ": no end record of a zip file in ", file.size(), " bytes; is it truncated?");
}

// Replaces the fields of the end record by those of the zip64 one where there is such a record.
StatusOr<Directory> ReadEnd64(Bytes file, uint64_t end, Directory small, const std::string& where) {
  const bool full = small.count == kFull16 || small.size == kFull32 || small.begin == kFull32;
  const bool has_locator = end >= kLocatorSize && Load<uint32_t>(file, end - kLocatorSize) == kLocatorMark;
  if (!has_locator) {
    if (full) return InvalidError(where, ": the zip end record says zip64 but there is no zip64 record");
    if (small.begin + small.size != end) {
      return InvalidError(where, ": the zip directory of ", small.size, " bytes at ", small.begin,
                          " doesn't end at the end record at ", end);
    }
    return small;
  }
  const uint64_t at = Load<uint64_t>(file, end - kLocatorSize + 8);
  if (at > end - kLocatorSize || end - kLocatorSize - at < kEnd64Size ||
      Load<uint32_t>(file, at) != kEnd64Mark) {
    return InvalidError(where, ": the zip64 locator points at byte ", at, ", where no zip64 record stands");
  }
  if (Load<uint32_t>(file, at + 16) != 0 || Load<uint32_t>(file, at + 20) != 0) {
    return InvalidError(where, ": the zip file is split over several disks");
  }
  const Directory big = {Load<uint64_t>(file, at + 48), Load<uint64_t>(file, at + 40),
                         Load<uint64_t>(file, at + 32)};
  if ((small.count != kFull16 && small.count != big.count) ||
      (small.size != kFull32 && small.size != big.size) ||
      (small.begin != kFull32 && small.begin != big.begin)) {
    return InvalidError(where, ": the two zip end records say different things");
  }
  if (big.begin > at || big.size != at - big.begin) {
    return InvalidError(where, ": the zip directory of ", big.size, " bytes at ", big.begin,
                        " doesn't end at the zip64 record at ", at);
  }
  return big;
}

StatusOr<Directory> FindDirectory(Bytes file, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(const uint64_t end, FindEnd(file, where));
  if (Load<uint16_t>(file, end + 4) != 0 || Load<uint16_t>(file, end + 6) != 0 ||
      Load<uint16_t>(file, end + 8) != Load<uint16_t>(file, end + 10)) {
    return InvalidError(where, ": the zip file is split over several disks");
  }
  const Directory small = {Load<uint32_t>(file, end + 16), Load<uint32_t>(file, end + 12),
                           Load<uint16_t>(file, end + 10)};
  VOLERY_ASSIGN_OR_RETURN(const Directory directory, ReadEnd64(file, end, small, where));
  if (directory.count > directory.size / kCentralSize) {
    return InvalidError(where, ": ", directory.count, " zip entries don't fit a directory of ",
                        directory.size, " bytes");
  }
  return directory;
}

// The sizes and the offset of a directory entry; those that are full stand in its zip64 extra field, in this
// order.
struct Place {
  uint64_t unpacked = 0, packed = 0, header = 0;
};

Status ReadZip64Extra(Bytes extra, const std::string& at, Place* place) {
  while (extra.size() >= 4) {
    const uint16_t kind = Load<uint16_t>(extra, 0), size = Load<uint16_t>(extra, 2);
    if (size > extra.size() - 4) return InvalidError(at, " has an extra field that runs past its end");
    Bytes field = extra.subspan(4, size);
    extra = extra.subspan(4 + size);
    if (kind != kZip64Extra) continue;
    for (uint64_t* value : {&place->unpacked, &place->packed, &place->header}) {
      if (*value != kFull32) continue;
      if (field.size() < 8) return InvalidError(at, " has a zip64 field that is too short");
      *value = Load<uint64_t>(field, 0);
      field = field.subspan(8);
    }
    return OkStatus();
  }
  return OkStatus();
}

// Checks the local header against the directory's entry and finds the data behind it.
Status ReadLocal(Bytes file, uint64_t limit, const Place& place, const std::string& at, ZipEntry* entry) {
  if (place.header > limit || limit - place.header < kLocalSize ||
      Load<uint32_t>(file, place.header) != kLocalMark) {
    return InvalidError(at, " has its header at byte ", place.header, ", where none stands");
  }
  const uint64_t name_size = Load<uint16_t>(file, place.header + 26);
  const uint64_t head = kLocalSize + name_size + Load<uint16_t>(file, place.header + 28);
  if (head > limit - place.header || place.packed > limit - place.header - head) {
    return InvalidError(at, " of ", place.packed, " bytes at byte ", place.header,
                        " runs past the data of the file; is it truncated?");
  }
  const bool same_name =
      name_size == entry->name.size() &&
      std::memcmp(file.data() + place.header + kLocalSize, entry->name.data(), name_size) == 0;
  const uint32_t size = Load<uint32_t>(file, place.header + 18);
  const bool same_size =
      (Load<uint16_t>(file, place.header + 6) & kSizesFollow) != 0 || size == place.packed || size == kFull32;
  if (!same_name || !same_size || (Load<uint16_t>(file, place.header + 8) != kStored) != entry->compressed) {
    return InvalidError(at, " is described differently by its own header and by the directory");
  }
  entry->header = place.header;
  entry->bytes = file.subspan(place.header + head, place.packed);
  return OkStatus();
}

// One directory entry at the front of `rest`, which it shortens.
StatusOr<ZipEntry> TakeEntry(Bytes file, uint64_t limit, Bytes* rest, const std::string& where) {
  if (rest->size() < kCentralSize || Load<uint32_t>(*rest, 0) != kCentralMark) {
    return InvalidError(where, ": the zip directory is damaged");
  }
  const uint64_t name_size = Load<uint16_t>(*rest, 28), extra_size = Load<uint16_t>(*rest, 30);
  const uint64_t whole = kCentralSize + name_size + extra_size + Load<uint16_t>(*rest, 32);
  if (whole > rest->size()) return InvalidError(where, ": the zip directory is damaged");
  ZipEntry entry;
  entry.name = {reinterpret_cast<const char*>(rest->data()) + kCentralSize, name_size};
  entry.compressed = Load<uint16_t>(*rest, 10) != kStored;
  const std::string at = Cat(where, ": zip entry \"", Printable(entry.name), "\"");
  if ((Load<uint16_t>(*rest, 8) & kEncrypted) != 0) return InvalidError(at, " is encrypted");
  Place place = {Load<uint32_t>(*rest, 24), Load<uint32_t>(*rest, 20), Load<uint32_t>(*rest, 42)};
  VOLERY_RETURN_IF_ERROR(ReadZip64Extra(rest->subspan(kCentralSize + name_size, extra_size), at, &place));
  if (!entry.compressed && place.packed != place.unpacked) {
    return InvalidError(at, " isn't compressed but has two sizes, ", place.packed, " and ", place.unpacked);
  }
  VOLERY_RETURN_IF_ERROR(ReadLocal(file, limit, place, at, &entry));
  *rest = rest->subspan(whole);
  return entry;
}

Status CheckOverlaps(const ZipView& zip, Bytes file, const std::string& where) {
  std::vector<const ZipEntry*> sorted;
  for (const ZipEntry& entry : zip.entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->header < b->header; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const ZipEntry& before = *sorted[i - 1];
    const auto end = static_cast<uint64_t>(before.bytes.data() - file.data()) + before.bytes.size();
    if (sorted[i]->header < end) {
      return InvalidError(where, ": zip entries \"", Printable(before.name), "\" and \"",
                          Printable(sorted[i]->name), "\" overlap");
    }
  }
  return OkStatus();
}

}  // namespace

const ZipEntry* ZipView::Find(std::string_view name) const {
  auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : &entries[found->second];
}

StatusOr<ZipView> ParseZip(std::span<const std::byte> bytes, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes, where));
  Bytes rest = bytes.subspan(directory.begin, directory.size);
  ZipView zip;
  zip.entries.reserve(directory.count);
  for (uint64_t i = 0; i < directory.count; ++i) {
    VOLERY_ASSIGN_OR_RETURN(ZipEntry entry, TakeEntry(bytes, directory.begin, &rest, where));
    if (!zip.by_name.emplace(entry.name, i).second) {
      return InvalidError(where, ": zip entry \"", Printable(entry.name), "\" stands twice");
    }
    zip.entries.push_back(entry);
  }
  if (!rest.empty()) {
    return InvalidError(where, ": the zip directory holds more than its ", directory.count, " entries");
  }
  VOLERY_RETURN_IF_ERROR(CheckOverlaps(zip, bytes, where));
  return zip;
}

}  // namespace volery::formats
