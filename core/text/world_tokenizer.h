#pragma once
// The tokenizer of RWKV World models: the longest token that the rest of the bytes begins with, again and
// again. No normalisation, no pre-tokenizer, nothing is added.
//
//   VOLERY_ASSIGN_OR_RETURN(auto tokenizer, WorldTokenizer(file_bytes, "model/rwkv_vocab_v20230424.txt"));
//
// Where it differs from the other tokenizers: raw bytes stay raw, so broken UTF-8 is encoded byte by byte and
// Decode of the ids gives U+FFFD only for what was broken; the tokens' bytes, joined, are always the text's.
// Id 0 is the end of a document: special, without bytes, and never made from text, whatever the text spells.
// Encoding a text in parts can give other ids than the whole.

#include <memory>
#include <string>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

inline constexpr int32_t kWorldEnd = 0;
inline constexpr char kWorldEndContent[] =
    "<|rwkv_tokenizer_end_of_text|>";  // its name in Hugging Face folders

// `vocabulary`: the file's bytes, see world_vocabulary.h for its layouts and errors; kept for Files().
StatusOr<std::shared_ptr<Tokenizer>> WorldTokenizer(std::string vocabulary, const std::string& where);

}  // namespace volery::text
