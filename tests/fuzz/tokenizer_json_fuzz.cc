// tokenizer.json from anywhere: reading must end in a tokenizer or an error, and a tokenizer must encode,
// decode, and survive being written and read again with the same ids.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace volery::text;
  if (size > 1 << 16) return 0;
  const std::string json(reinterpret_cast<const char*>(data), size);
  const auto made = BpeFromTokenizerJson(json, "fuzz");
  // An expression of the file's own may take exponential time by design; reading it is fuzzed, running it is
  // not.
  if (!made.ok() || json.find("Regex") != std::string::npos) return 0;
  const std::string text = "ab  12 x'S\n<|a|> \xC3\xA9\xCC\x81\xFF " + json.substr(0, 200);
  const std::vector<int32_t> ids = (*made)->Encode(text);
  (*made)->Decode(ids, true);
  const auto again = BpeFromTokenizerJson((*made)->Files().at("tokenizer.json"), "again");
  if (!again.ok() || (*again)->Encode(text) != ids) __builtin_trap();
  return 0;
}
