#pragma once
// Tokenizers for models from scratch. Both end in the special tokens below and know no merges; both write a
// tokenizer.json that Hugging Face tokenizers loads to the same ids, and that BpeFromTokenizerJson reads
// back.
//
//   bytes:       id b = byte b; 256 <|bos|>, 257 <|eos|>, 258 <|pad|>; size 259
//   characters:  id i = i-th character of the alphabet (n of them); n <|bos|>, n+1 <|eos|>, n+2 <|pad|>,
//                n+3 <|unk|> (any other character); size n + 4

#include <memory>
#include <string>

#include "core/base/status.h"
#include "core/text/bpe_spec.h"
#include "core/text/tokenizer.h"

namespace volery::text {

inline constexpr char kBosContent[] = "<|bos|>";
inline constexpr char kEosContent[] = "<|eos|>";
inline constexpr char kPadContent[] = "<|pad|>";
inline constexpr char kUnkContent[] = "<|unk|>";

std::shared_ptr<Tokenizer> BytesTokenizer();
// `alphabet`: UTF-8. InvalidArgument when it is empty, no UTF-8, or names a character twice.
StatusOr<std::shared_ptr<Tokenizer>> CharactersTokenizer(const std::string& alphabet);

// A characters tokenizer from a parsed tokenizer.json whose decoder is Fuse; refuses what such a file can't
// have.
StatusOr<std::shared_ptr<Tokenizer>> CharactersFromSpec(BpeSpec spec, bool no_pre_tokenizer);

}  // namespace volery::text
