// PyTorch checkpoints from outside bytes, and their pickles alone (most mutations of a whole file end in the
// zip reader). Whatever is accepted must be consistent.
#include "core/base/status.h"
#include "core/formats/torch_file.h"
#include "core/formats/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::formats;
  const auto bytes = std::as_bytes(std::span(data, size));
  volery::StatusOr<TorchFileView> view = ParseTorchFile(bytes, "fuzz");
  if (view.ok()) {
    uint32_t sum = 0;
    for (const TorchTensor& tensor : view->tensors) {
      VOLERY_CHECK(view->Find(tensor.name, tensor.group) == &tensor);
      VOLERY_CHECK(ByteCount(tensor.dtype, tensor.shape) == static_cast<int64_t>(tensor.bytes.size()));
      for (std::byte b : tensor.bytes) sum += std::to_integer<uint32_t>(b);
    }
    volatile uint32_t read = sum;  // touches every byte, so that a span past the end is found
    (void)read;
  }
  volery::StatusOr<Pickle> pickle = ReadTorchPickle(bytes, "fuzz");
  if (!pickle.ok()) return 0;
  VOLERY_CHECK(pickle->root < pickle->nodes.size() && pickle->nodes.size() <= size);
  for (const PickleNode& node : pickle->nodes) {
    for (PickleId item : node.items) VOLERY_CHECK(item < pickle->nodes.size());
    if (node.kind == PickleKind::kDict) VOLERY_CHECK(node.items.size() % 2 == 0);
    if (node.kind != PickleKind::kTensor) continue;
    VOLERY_CHECK(node.dtype && node.items.size() == 3 &&
                 pickle->at(node.items[0]).kind == PickleKind::kStorage);
    VOLERY_CHECK(pickle->at(node.items[1]).items.size() == pickle->at(node.items[2]).items.size());
  }
  return 0;
}
