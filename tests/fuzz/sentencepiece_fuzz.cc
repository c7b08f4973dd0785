// SentencePiece models from outside bytes: reading ends in a tokenizer or an error, and a tokenizer encodes
// and decodes, with ids of its own.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/status.h"
#include "core/text/sentencepiece_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::text;
  if (size > 1 << 16) return 0;
  const std::string file(reinterpret_cast<const char*>(data), size);
  const auto made = SentencePieceTokenizer(file, "fuzz", {});
  if (!made.ok()) return 0;
  for (const std::string& text :
       {std::string("  hello a b aab 17 <sep>\n"),
        std::string("\xEF\xBC\xA1\xEF\xAC\x81 e\xCC\x81\xFF\0x", 12), file.substr(0, 300)}) {
    const std::vector<int32_t> ids = (*made)->Encode(text);
    for (const int32_t id : ids) VOLERY_CHECK(id >= 0 && id < (*made)->size());
    (*made)->Decode(ids, true);
  }
  return 0;
}
