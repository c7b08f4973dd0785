#pragma once
// Byte-level BPE from GGUF metadata. GGUF names the pre-tokenizer instead of describing it, so the names are
// mapped here: smollm (digits one by one, then GPT-2's pattern), qwen2 and deepseek-r1-qwen (with NFC),
// llama-bpe, gpt-2.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

// The keys tokenizer.ggml.*; whoever reads the file fills it.
struct GgufVocabulary {
  std::string where;  // the file, for errors
  std::string model;  // tokenizer.ggml.model; "gpt2" is byte-level BPE
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<int32_t>
      types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty: all normal
  std::vector<std::string> merges;  // "left right"
  std::optional<int32_t> bos, eos, unk, pad;
  std::optional<bool> add_bos, add_eos;  // absent: by the pre-tokenizer's family
};

// Control tokens become special, user-defined ones added but not special. Unused tokens at the end are left
// out, so size() is that of the real vocabulary. Errors name `where` and the entry.
StatusOr<std::shared_ptr<Tokenizer>> BpeFromGguf(const GgufVocabulary& vocabulary);

}  // namespace volery::text
