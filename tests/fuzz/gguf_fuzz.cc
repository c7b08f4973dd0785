// GGUF files from outside bytes: parsing, look-ups, and dequantisation of whatever is accepted.
#include <vector>

#include "core/base/status.h"
#include "core/formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::formats;
  volery::StatusOr<GgufView> view = ParseGguf(std::as_bytes(std::span(data, size)), "fuzz");
  if (!view.ok()) return 0;
  for (const GgufTensor& tensor : view->tensors) {
    VOLERY_CHECK(view->Find(tensor.name) == &tensor);
    if (tensor.count > (1 << 20)) continue;  // empty rows aside, more elements than that need a larger file
    std::vector<float> out(static_cast<size_t>(tensor.count));
    const volery::Status status = Dequantise(tensor.type, tensor.bytes, out.data(), tensor.count);
    VOLERY_CHECK(status.ok() == CanDequantise(tensor.type));
  }
  for (const auto& [key, value] : view->metadata) {
    const int read = view->Int(key).ok() + view->Float(key).ok() + view->String(key).ok() +
                     view->Strings(key).ok() + view->Ints(key).ok() + view->Floats(key).ok() +
                     view->Bool(key).ok();
    VOLERY_CHECK(read <= 3);
  }
  return 0;
}
