#pragma once
// The tokenizer's part of a Hugging Face model folder, from which AutoTokenizer.from_pretrained gives the
// same ids. For tokenizers read from a tokenizer.json the original files are better: copy them byte for byte.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

using TokenizerFiles = std::map<std::string, std::string>;  // file name -> bytes

struct TokenizerFilesOptions {
  std::optional<int32_t> bos, eos, unk, pad;  // ids of the model's configuration
  std::string chat_template;                  // Jinja text; empty: no chat_template.jinja
  int64_t max_length = 0;                     // the model's context; 0: left out
};

// tokenizer.json, tokenizer_config.json and, with a template, chat_template.jinja. InvalidArgument when an id
// has no token.
StatusOr<TokenizerFiles> MakeTokenizerFiles(const Tokenizer& tokenizer, const TokenizerFilesOptions& options);

}  // namespace volery::text
