#include "core/formats/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/base/files.h"

namespace volery::formats {
namespace {

constexpr char kFileVersion[] = "brain.Event:2";
constexpr uint64_t kFrameHead = 12, kFrameTail = 4;
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

uint32_t MaskedCrc(std::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u;
}

template <class T>
void PutFixed(T value, std::string* out) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out->append(raw, sizeof(T));
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void PutTag(uint32_t field, WireType type, std::string* out) {
  PutVarint(field << 3 | type, out);
}

void PutBytes(uint32_t field, std::string_view bytes, std::string* out) {
  PutTag(field, kBytes, out);
  PutVarint(bytes.size(), out);
  out->append(bytes);
}

std::string EncodeSummary(const std::vector<EventScalar>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    std::string entry;
    PutBytes(1, tag, &entry);
    PutTag(2, kFixed32, &entry);
    PutFixed(value, &entry);
    PutBytes(1, entry, &summary);
  }
  return summary;
}

struct Field {
  uint32_t number = 0;
  uint32_t type = 0;
  uint64_t number_value = 0;  // varint and fixed
  std::string_view bytes;
};

std::optional<uint64_t> TakeVarint(std::string_view* in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in->empty()) return std::nullopt;
    const uint8_t byte = static_cast<uint8_t>(in->front());
    in->remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> TakeFixed(std::string_view* in, size_t size) {
  if (in->size() < size) return std::nullopt;
  uint64_t value = 0;
  std::memcpy(&value, in->data(), size);
  in->remove_prefix(size);
  return value;
}

// The next field of a message; nothing where the encoding is broken.
std::optional<Field> TakeField(std::string_view* in) {
  std::optional<uint64_t> tag = TakeVarint(in);
  if (!tag) return std::nullopt;
  Field field;
  field.number = static_cast<uint32_t>(*tag >> 3);
  field.type = static_cast<uint32_t>(*tag & 7);
  std::optional<uint64_t> value;
  if (field.type == kVarint || field.type == kBytes) value = TakeVarint(in);
  if (field.type == kFixed64) value = TakeFixed(in, 8);
  if (field.type == kFixed32) value = TakeFixed(in, 4);
  if (!value) return std::nullopt;
  field.number_value = *value;
  if (field.type == kBytes) {
    if (*value > in->size()) return std::nullopt;
    field.bytes = in->substr(0, *value);
    in->remove_prefix(*value);
  }
  return field;
}

bool DecodeSummaryValue(std::string_view in, EventRecord* record) {
  std::string tag;
  std::optional<float> scalar;
  while (!in.empty()) {
    std::optional<Field> field = TakeField(&in);
    if (!field) return false;
    if (field->number == 1 && field->type == kBytes) tag = std::string(field->bytes);
    if (field->number == 2 && field->type == kFixed32)
      scalar = std::bit_cast<float>(static_cast<uint32_t>(field->number_value));
  }
  if (scalar) record->scalars.emplace_back(std::move(tag), *scalar);
  return true;
}

bool DecodeEvent(std::string_view in, EventRecord* record) {
  while (!in.empty()) {
    std::optional<Field> field = TakeField(&in);
    if (!field) return false;
    if (field->number == 1 && field->type == kFixed64)
      record->wall_time = std::bit_cast<double>(field->number_value);
    if (field->number == 2 && field->type == kVarint)
      record->step = static_cast<int64_t>(field->number_value);
    if (field->number == 3 && field->type == kBytes) record->file_version = std::string(field->bytes);
    if (field->number != 5 || field->type != kBytes) continue;
    std::string_view summary = field->bytes;
    while (!summary.empty()) {
      std::optional<Field> value = TakeField(&summary);
      if (!value) return false;
      if (value->number == 1 && value->type == kBytes && !DecodeSummaryValue(value->bytes, record))
        return false;
    }
  }
  return true;
}

uint32_t Load32(std::string_view bytes, uint64_t offset) {
  uint32_t value;
  std::memcpy(&value, bytes.data() + offset, 4);
  return value;
}

Status DiskError(const std::string& path, const char* what) {
  const int code = errno;
  const std::string message = Cat(path, ": ", what, ": ", std::strerror(code));
  if (code == EEXIST) return ExistsError(message);
  return code == ENOSPC || code == EDQUOT ? ResourceError(message, "; free some space and resume")
                                          : InternalError(message);
}

}  // namespace

uint32_t Crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffu;
  for (char byte : bytes) crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff];
  return ~crc;
}

std::string EncodeEvent(const EventRecord& record) {
  std::string event;
  PutTag(1, kFixed64, &event);
  PutFixed(record.wall_time, &event);
  if (record.step != 0) {
    PutTag(2, kVarint, &event);
    PutVarint(static_cast<uint64_t>(record.step), &event);
  }
  if (!record.file_version.empty()) PutBytes(3, record.file_version, &event);
  if (!record.scalars.empty()) PutBytes(5, EncodeSummary(record.scalars), &event);

  std::string frame;
  PutFixed(static_cast<uint64_t>(event.size()), &frame);
  PutFixed(MaskedCrc(frame), &frame);
  frame += event;
  PutFixed(MaskedCrc(event), &frame);
  return frame;
}

StatusOr<EventFile> ParseEvents(std::string_view bytes, const std::string& where) {
  EventFile file;
  uint64_t at = 0;
  while (at < bytes.size()) {
    const uint64_t left = bytes.size() - at;
    file.torn = true;
    if (left < kFrameHead) break;
    if (Load32(bytes, at + 8) != MaskedCrc(bytes.substr(at, 8))) {
      return DataLossError(where, ": the record at byte ", at,
                           " has a damaged length; this is no event file, or it is damaged");
    }
    uint64_t size;
    std::memcpy(&size, bytes.data() + at, 8);
    if (left < kFrameHead + kFrameTail || size > left - kFrameHead - kFrameTail) break;
    const std::string_view event = bytes.substr(at + kFrameHead, size);
    EventRecord record;
    if (Load32(bytes, at + kFrameHead + size) != MaskedCrc(event) || !DecodeEvent(event, &record)) {
      return DataLossError(where, ": the record at byte ", at, " is damaged");
    }
    at += kFrameHead + size + kFrameTail;
    file.torn = false;
    file.records.push_back(std::move(record));
    file.ends.push_back(at);
  }
  return file;
}

Status TruncateEvents(const std::string& path, int64_t last_step) {
  VOLERY_ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
  VOLERY_ASSIGN_OR_RETURN(EventFile file, ParseEvents(bytes, path));
  uint64_t keep = 0;
  for (size_t i = 0; i < file.records.size() && file.records[i].step <= last_step; ++i) keep = file.ends[i];
  return keep == bytes.size() ? OkStatus() : base::TruncateFile(path, keep);
}

StatusOr<std::unique_ptr<EventFileWriter>> EventFileWriter::Create(const std::string& path,
                                                                   double wall_time) {
  std::FILE* file = std::fopen(path.c_str(), "wbx");
  if (file == nullptr) return DiskError(path, "can't create the event file");
  std::unique_ptr<EventFileWriter> writer(new EventFileWriter(path, file));
  VOLERY_RETURN_IF_ERROR(
      writer->Append({.wall_time = wall_time, .step = 0, .file_version = kFileVersion, .scalars = {}}));
  VOLERY_RETURN_IF_ERROR(writer->Flush());
  return writer;
}

EventFileWriter::~EventFileWriter() {
  std::fclose(file_);
}

Status EventFileWriter::Add(int64_t step, double wall_time, const std::vector<EventScalar>& scalars) {
  return Append({.wall_time = wall_time, .step = step, .file_version = "", .scalars = scalars});
}

Status EventFileWriter::Append(const EventRecord& record) {
  const std::string frame = EncodeEvent(record);
  if (std::fwrite(frame.data(), 1, frame.size(), file_) != frame.size())
    return DiskError(path_, "can't write");
  return OkStatus();
}

Status EventFileWriter::Flush() {
  return std::fflush(file_) == 0 ? OkStatus() : DiskError(path_, "can't write");
}

}  // namespace volery::formats
