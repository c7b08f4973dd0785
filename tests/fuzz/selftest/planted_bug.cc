// An entry with a planted bug that no corpus file triggers, to show that the replay finds and names it.
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 4 && std::memcmp(data, "LEN", 3) == 0 && data[3] > 0xf0) std::abort();
  return 0;
}
