#pragma once
// The tokenizer's part of a Hugging Face model folder, from which AutoTokenizer.from_pretrained gives the
// same ids (of RWKV World with hf_rwkv_tokenizer.py beside it, the Python code that such folders bring
// along). Where the tokenizer came from such a folder the original files are better: copy them byte for byte.

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

struct TokenizerFilesOptions {
  std::optional<int32_t> bos, eos, unk, pad;  // ids of the model's configuration
  std::string chat_template;                  // Jinja text; empty: no chat_template.jinja
  int64_t max_length = 0;                     // the model's context; 0: left out
};

// The tokenizer's own files, tokenizer_config.json and, with a template, chat_template.jinja. InvalidArgument
// when an id has no token, or one that is no text.
StatusOr<TokenizerFiles> MakeTokenizerFiles(const Tokenizer& tokenizer, const TokenizerFilesOptions& options);

}  // namespace volery::text
