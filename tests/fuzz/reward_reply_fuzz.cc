// A reward's child process may send any bytes: decoding either fails or gives one sound result a sample.
#include <cmath>
#include <cstdlib>

#include "core/plugin/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  for (size_t samples : {1, 2}) {
    auto reply = volery::plugin::DecodeReply(bytes, samples);
    if (!reply.ok()) continue;
    if (reply->results.size() != samples || !std::isfinite(reply->results[0].score)) std::abort();
  }
  return 0;
}
