// Safetensors files and their index from outside bytes. Whatever is accepted must be consistent.
#include <numeric>

#include "core/base/status.h"
#include "core/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::formats;
  const auto bytes = std::as_bytes(std::span(data, size));
  volery::StatusOr<SafetensorsView> view = ParseSafetensors(bytes, "fuzz");
  if (view.ok()) {
    uint32_t sum = 0;
    for (const SafetensorsTensor& tensor : view->tensors) {
      VOLERY_CHECK(view->Find(tensor.name) == &tensor);
      VOLERY_CHECK(ByteCount(tensor.dtype, tensor.shape) == static_cast<int64_t>(tensor.bytes.size()));
      for (std::byte b : tensor.bytes) sum += std::to_integer<uint32_t>(b);
    }
    volatile uint32_t read = sum;  // touches every byte, so that a span past the end is found
    (void)read;
  }
  auto index = ParseSafetensorsIndex(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (index.ok()) {
    for (const std::string& file : index->Files())
      VOLERY_CHECK(file.find('/') == std::string::npos && file != "..");
    VOLERY_CHECK(ParseSafetensorsIndex(FormatSafetensorsIndex(*index), "again").ok());
  }
  return 0;
}
