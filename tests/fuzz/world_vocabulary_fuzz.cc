// World vocabularies from outside bytes: reading ends in tokens or an error, and a tokenizer gives any bytes
// back, the file's own among them.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/status.h"
#include "core/text/world_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::text;
  if (size > 1 << 16) return 0;
  const std::string file(reinterpret_cast<const char*>(data), size);
  const auto made = WorldTokenizer(file, "fuzz");
  if (!made.ok()) return 0;
  const std::vector<int32_t> ids = (*made)->Encode(file);
  std::string joined;
  for (const int32_t id : ids) joined += (*made)->TokenBytes(id);
  VOLERY_CHECK(joined == file);
  (*made)->Decode(ids, true);
  for (int32_t id = 1; id < (*made)->size(); ++id) VOLERY_CHECK((*made)->IdOf((*made)->Content(id)) == id);
  return 0;
}
