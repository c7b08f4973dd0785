#include "core/formats/zip_writer.h"

#include <algorithm>
#include <utility>

#include "core/formats/crc32.h"

namespace volery::formats {
namespace {

constexpr uint64_t kFull16 = 0xffff, kFull32 = 0xffffffff;
constexpr uint16_t kPlainVersion = 20, kZip64Version = 45;
constexpr uint16_t kUtf8Name = 0x800;
constexpr uint16_t kStored = 0, kMidnight = 0, kFirstOf1980 = 0x21;
constexpr uint16_t kZip64Extra = 1, kPaddingExtra = 0x4246;  // "FB", as torch calls its padding

void Put(uint64_t value, size_t width, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), width);
}

// What the local header and the directory have in common: version needed, flags, method, date, checksum, both
// sizes.
void PutDescription(const ZipRecord& record, bool zip64, std::string* out) {
  Put(zip64 ? kZip64Version : kPlainVersion, 2, out);
  Put(kUtf8Name, 2, out);
  Put(kStored, 2, out);
  Put(kMidnight, 2, out);
  Put(kFirstOf1980, 2, out);
  Put(record.crc, 4, out);
  Put(std::min(record.size, kFull32), 4, out);
  Put(std::min(record.size, kFull32), 4, out);
  Put(record.name.size(), 2, out);
}

void PutExtra(uint16_t kind, const std::string& field, std::string* out) {
  Put(kind, 2, out);
  Put(field.size(), 2, out);
  *out += field;
}

}  // namespace

std::string ZipLocalHeader(const ZipRecord& record, uint64_t alignment) {
  std::string extra;
  if (record.size >= kFull32) {
    std::string sizes;
    Put(record.size, 8, &sizes);
    Put(record.size, 8, &sizes);
    PutExtra(kZip64Extra, sizes, &extra);
  }
  constexpr uint64_t kFixed = 30, kExtraHead = 4;
  const uint64_t data = record.header + kFixed + record.name.size() + extra.size() + kExtraHead;
  PutExtra(kPaddingExtra, std::string((alignment - data % alignment) % alignment, 'Z'), &extra);
  std::string out = "PK\x03\x04";
  PutDescription(record, record.size >= kFull32, &out);
  Put(extra.size(), 2, &out);
  return out + record.name + extra;
}

std::string ZipDirectoryEntry(const ZipRecord& record) {
  std::string big;
  if (record.size >= kFull32) {
    Put(record.size, 8, &big);
    Put(record.size, 8, &big);
  }
  if (record.header >= kFull32) Put(record.header, 8, &big);
  std::string extra;
  if (!big.empty()) PutExtra(kZip64Extra, big, &extra);
  std::string out = "PK\x01\x02";
  Put(big.empty() ? kPlainVersion : kZip64Version, 2, &out);
  PutDescription(record, !big.empty(), &out);
  Put(extra.size(), 2, &out);
  out.append(10, '\0');  // no comment, disk 0, no attributes
  Put(std::min(record.header, kFull32), 4, &out);
  return out + record.name + extra;
}

std::string ZipEnd(uint64_t count, uint64_t size, uint64_t begin) {
  std::string out = "PK\x06\x06";
  Put(44, 8, &out);  // bytes that follow in this record
  Put(kZip64Version, 2, &out);
  Put(kZip64Version, 2, &out);
  Put(0, 8, &out);  // disks
  Put(count, 8, &out);
  Put(count, 8, &out);
  Put(size, 8, &out);
  Put(begin, 8, &out);
  out += "PK\x06\x07";
  Put(0, 4, &out);
  Put(begin + size, 8, &out);
  Put(1, 4, &out);
  out += "PK\x05\x06";
  Put(0, 4, &out);
  Put(std::min(count, kFull16), 2, &out);
  Put(std::min(count, kFull16), 2, &out);
  Put(std::min(size, kFull32), 4, &out);
  Put(std::min(begin, kFull32), 4, &out);
  Put(0, 2, &out);  // no comment
  return out;
}

StatusOr<std::unique_ptr<ZipWriter>> ZipWriter::Create(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(auto file, OutputFile::Create(path));
  return std::unique_ptr<ZipWriter>(new ZipWriter(std::move(file)));
}

Status ZipWriter::Add(const std::string& name, std::span<const std::byte> bytes, uint64_t alignment) {
  if (name.empty() || name.size() > kFull16) {
    return InvalidError(path(), ": a zip entry's name has ", name.size(), " bytes");
  }
  ZipRecord record{name, Crc32(bytes), bytes.size(), file_->position()};
  VOLERY_RETURN_IF_ERROR(file_->Write(ZipLocalHeader(record, alignment)));
  VOLERY_RETURN_IF_ERROR(file_->Write(bytes));
  records_.push_back(std::move(record));
  return OkStatus();
}

Status ZipWriter::Finish() {
  const uint64_t begin = file_->position();
  for (const ZipRecord& record : records_) VOLERY_RETURN_IF_ERROR(file_->Write(ZipDirectoryEntry(record)));
  VOLERY_RETURN_IF_ERROR(file_->Write(ZipEnd(records_.size(), file_->position() - begin, begin)));
  return file_->Close();
}

}  // namespace volery::formats
