#pragma once
// SentencePiece .model files, unigram and BPE, with the ids and texts that the sentencepiece package gives.
//
//   VOLERY_ASSIGN_OR_RETURN(auto tokenizer, SentencePieceTokenizer(file_bytes, "model/tokenizer.model", {}));
//
// As there: user-defined pieces are always cut out of the text, control pieces (<s>, </s>) never, and control
// pieces decode to nothing. They are the ones that IsSpecial names. EncodeOptions::parse_special changes
// nothing. Where it differs: broken UTF-8 in decoded byte pieces gives one U+FFFD for each broken part, as
// everywhere here; the package gives one for each byte.

#include <memory>
#include <string>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

struct SentencePieceOptions {
  bool add_bos = false, add_eos = false;  // what EncodeOptions::add_special adds: the pieces <s> and </s>
};

// `model`: the file's bytes; kept for Files(). Errors as sentencepiece_model.h; also for an option whose
// piece the model doesn't have.
StatusOr<std::shared_ptr<Tokenizer>> SentencePieceTokenizer(std::string model, const std::string& where,
                                                            const SentencePieceOptions& options);

}  // namespace volery::text
