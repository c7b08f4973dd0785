// TensorBoard event files from outside bytes, as a resume reads them.
#include <string_view>

#include "core/base/status.h"
#include "core/formats/event_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::formats;
  volery::StatusOr<EventFile> file =
      ParseEvents(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!file.ok()) return 0;
  VOLERY_CHECK(file->records.size() == file->ends.size());
  VOLERY_CHECK(file->torn == ((file->ends.empty() ? 0 : file->ends.back()) != size));
  for (const EventRecord& record : file->records)
    VOLERY_CHECK(ParseEvents(EncodeEvent(record), "again").ok());
  return 0;
}
