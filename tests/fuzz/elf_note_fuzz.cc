// Reading a build tag from any bytes never leaves them, and a tag lies within the file.
#include <cstdlib>

#include "core/plugin/elf_note.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto tag = volery::plugin::ReadBuildTag({reinterpret_cast<const std::byte*>(data), size});
  if (tag.ok() && tag->has_value() && (*tag)->size() > size) std::abort();
  return 0;
}
