#pragma once
// What stands in a SentencePiece .model file (a protocol buffer, ModelProto), as far as decoding needs it,
// and whether it is safe to hand to the library: that trusts the file, and follows offsets inside it without
// looking. Thread-safe; no state.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace volery::text {

enum class PieceKind : uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct SentencePieceModel {
  struct Piece {
    std::string text;  // with U+2581 for a space
    float score = 0;
    PieceKind kind = PieceKind::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  bool bpe = false;           // else unigram
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  std::string unknown_surface = " \xE2\x81\x87 ";  // what an unknown piece decodes to
};

// InvalidArgument names `where` and what is wrong: no protocol buffer, pieces that are empty, repeated or no
// UTF-8, none or several for the unknown, a control piece that is one character of a BPE model, scores that
// are no numbers, a byte piece that names no byte, a normaliser's table whose offsets leave it; and what
// isn't supported: models of words or characters, denormalisers, white space as a suffix.
StatusOr<SentencePieceModel> ReadSentencePieceModel(std::string_view bytes, const std::string& where);

// The byte that a piece "<0xHH>" stands for; nothing for other pieces.
std::optional<uint8_t> PieceByte(std::string_view piece);

}  // namespace volery::text
