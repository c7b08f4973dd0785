#pragma once
// Reads the vocabulary file of RWKV World models, in either of its layouts; lines end in LF or CRLF.
//
//   numbered (rwkv_vocab_v20230424.txt):  <id> <Python literal> <bytes>, ids 1, 2, ... in order
//   bare (vocab.txt of older folders):    <Python literal>, the first line stands for id 0
//
// Literals are '...', "...", b'...' or b"...", with the escapes \\ \' \" \n \r \t \xHH, and outside of b also
// \uHHHH and \UHHHHHHHH. A string's code points stand for their UTF-8; \xHH is a code point in a string, a
// byte after b. Thread-safe; no state.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace volery::text {

struct WorldVocabulary {
  std::vector<std::string> tokens;  // bytes by id; id 0, the end of a document, has none
  bool numbered = true;
};

// InvalidArgument names `where`, the line and what is wrong: an id that is missing, repeated or above 65535,
// a literal that Python wouldn't write, a length that isn't the token's, a token that stands twice, a single
// byte without a token (then some texts could not be encoded).
StatusOr<WorldVocabulary> ReadWorldVocabulary(std::string_view text, const std::string& where);

// True if the file's first line reads as one of a World vocabulary, for telling it from other text files.
bool LooksLikeWorldVocabulary(std::string_view text);

}  // namespace volery::text
