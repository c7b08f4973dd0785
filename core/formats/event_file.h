#pragma once
// TensorBoard event files with scalars: writing, reading back, and cutting back to a step when a run resumes.
// The file is a sequence of framed records (length, masked CRC-32C, an Event message, masked CRC-32C),
// encoded here by hand.
//
//   VOLERY_ASSIGN_OR_RETURN(auto events, EventFileWriter::Create(folder + "/events.out.tfevents.000001",
//   now)); VOLERY_RETURN_IF_ERROR(events->Add(step, now, {{"reward/mean", 0.5f}}));
//   VOLERY_RETURN_IF_ERROR(events->Flush());

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace volery::formats {

using EventScalar = std::pair<std::string, float>;  // tag, value

struct EventRecord {
  double wall_time = 0;  // seconds since 1970
  int64_t step = 0;
  std::string file_version;  // of the first record, else empty
  std::vector<EventScalar> scalars;
};

// One record as it stands in a file, frame included.
std::string EncodeEvent(const EventRecord& record);

struct EventFile {
  std::vector<EventRecord> records;
  std::vector<uint64_t> ends;  // offset behind each record
  bool torn = false;           // the last record is incomplete, as a crash while writing leaves it
};
// `where` names the file in messages. DataLoss: a record that is complete but whose checksum or encoding is
// wrong. Other kinds of summaries than scalars are skipped.
StatusOr<EventFile> ParseEvents(std::string_view bytes, const std::string& where);

// Cuts the file before the first record with a step above `last_step`, and cuts off a torn last record.
// Errors as ParseEvents, and the file system's.
Status TruncateEvents(const std::string& path, int64_t last_step);

// Appends; one thread at a time.
class EventFileWriter {
 public:
  // A new file with its version record. AlreadyExists if there is one. `wall_time` in seconds since 1970.
  static StatusOr<std::unique_ptr<EventFileWriter>> Create(const std::string& path, double wall_time);
  ~EventFileWriter();
  EventFileWriter(const EventFileWriter&) = delete;
  EventFileWriter& operator=(const EventFileWriter&) = delete;

  Status Add(int64_t step, double wall_time, const std::vector<EventScalar>& scalars);
  Status Flush();  // to the operating system, so that a running TensorBoard sees it
  const std::string& path() const { return path_; }

 private:
  EventFileWriter(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  Status Append(const EventRecord& record);

  const std::string path_;
  std::FILE* file_;
};

// CRC-32C (Castagnoli) of `bytes`, unmasked.
uint32_t Crc32c(std::string_view bytes);

}  // namespace volery::formats
