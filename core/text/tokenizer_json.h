#pragma once
// Reads tokenizer.json as Hugging Face tokenizers writes it: byte-level BPE (see README.md for the parts),
// and the character tokenizers that tokenizer_json_writer.h writes. Whatever would change ids and isn't
// understood is refused by name; `truncation` and `padding` are passed over, as transformers does.

#include <memory>
#include <string>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

// `where` names the file in errors. InvalidArgument with the entry and what to do.
StatusOr<std::shared_ptr<Tokenizer>> BpeFromTokenizerJson(const std::string& json_text,
                                                          const std::string& where);

}  // namespace volery::text
