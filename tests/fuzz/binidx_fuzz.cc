// Pairs of binidx files from outside bytes: the length of the .idx file (4 bytes, little endian), that file,
// the .bin file. Whatever is accepted must be consistent.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/base/status.h"
#include "core/formats/binidx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::formats;
  uint32_t length = 0;
  if (size < sizeof length) return 0;
  std::memcpy(&length, data, sizeof length);
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(sizeof length);
  const auto idx = bytes.first(std::min<size_t>(length, bytes.size()));
  const std::vector<std::byte> bin(bytes.begin() + static_cast<ptrdiff_t>(idx.size()),
                                   bytes.end());  // aligned
  volery::StatusOr<BinidxView> view = ParseBinidx(idx, bin, "fuzz");
  if (!view.ok()) return 0;
  int64_t end = 0;
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < view->item_count(); ++i) {
    const TokenRange item = view->Item(i);
    VOLERY_CHECK(item.begin == end && item.end >= item.begin);
    end = item.end;
    tokens.resize(static_cast<size_t>(item.end - item.begin));
    view->Copy(item.begin, tokens);
  }
  VOLERY_CHECK(end == view->token_count());
  int64_t last = 0;
  for (int64_t i = 0; i < view->document_count(); ++i) {
    const TokenRange document = view->Document(i);
    VOLERY_CHECK(document.begin == last && document.end >= last && document.end <= end);
    last = document.end;
  }
  return 0;
}
