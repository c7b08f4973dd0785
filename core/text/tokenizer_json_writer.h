#pragma once
// Writes tokenizer.json files that Hugging Face tokenizers and tokenizer_json.h read. Thread-safe; no state.

#include <string>
#include <vector>

#include "core/text/added_tokens.h"
#include "core/text/bpe_spec.h"

namespace volery::text {

// Byte-level BPE. Contents must be valid UTF-8.
std::string WriteTokenizerJson(const BpeSpec& spec);

// One token a character: `tokens` by id (added ones included), no merges, no pre-tokenizer, decoder Fuse.
std::string WriteCharactersJson(const std::vector<std::string>& tokens, const std::vector<AddedToken>& added,
                                const std::string& unknown);

// `text` (valid UTF-8) as a JSON string, quotes included.
std::string JsonQuote(const std::string& text);

}  // namespace volery::text
