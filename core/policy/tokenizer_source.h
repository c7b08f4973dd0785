#pragma once
// Opening a tokenizer wherever it lies: a tokenizer.json, a SentencePiece .model, an RWKV World vocabulary
// (.txt), a folder that holds one of them (looked for in this order: tokenizer.json, rwkv_vocab_*.txt,
// vocab.txt, tokenizer.model), a GGUF file, or the built-in "bytes", "characters" and "world" (the vocabulary
// installed with the program). With it comes what belongs to it: special ids, chat template, and the files
// that an exported model folder needs. Thread-safe; no state.

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/base/status.h"
#include "core/formats/gguf.h"
#include "core/text/tokenizer.h"

namespace volery::policy {

struct TokenizerSource {
  std::string where;  // path or built-in name, for messages
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::optional<int32_t> bos, eos, unk,
      pad;                 // as the source names them; of World always eos = pad = 0 and no bos
  std::string chat_jinja;  // the source's chat template; empty: none
  std::map<std::string, std::string>
      files;  // byte copies of a folder's tokenizer files; empty: they must be made
};

// `name`: "bytes", "characters" (over `alphabet`), "world", or a path. InvalidArgument or NotFound say what
// is wrong and where.
StatusOr<TokenizerSource> OpenTokenizerSource(const std::string& name, const std::string& alphabet = "");
StatusOr<TokenizerSource> TokenizerFromGguf(const formats::GgufView& gguf);
// True if OpenTokenizerSource would find a tokenizer in the folder, be it a damaged one.
bool HoldsTokenizer(const std::string& folder);

StatusOr<std::shared_ptr<const text::Tokenizer>> OpenTokenizer(const std::string& path);

// The tokenizer's files of a Hugging Face folder: the source's own, byte for byte, else made from the
// tokenizer.
StatusOr<std::map<std::string, std::string>> TokenizerFilesOf(const TokenizerSource& source, int64_t context);

}  // namespace volery::policy
