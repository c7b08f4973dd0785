#include "core/text/sentencepiece_model.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr float kMostScore = 1e9f;  // sums of scores of a whole text must stay numbers

struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;         // 0 varint, 1 64 bits, 2 bytes, 5 32 bits
  uint64_t value = 0;        // of a varint, or the 32 bits
  std::string_view content;  // of wire 2
};

// The fields of one message, in their order.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }

  // Nothing: no protocol buffer.
  std::optional<Field> Next() {
    Field field;
    const std::optional<uint64_t> key = Varint();
    if (!key || *key >> 3 == 0 || *key >> 3 > 0x1FFFFFFF) return std::nullopt;
    field.number = static_cast<uint32_t>(*key >> 3);
    field.wire = *key & 7;
    std::optional<uint64_t> size;
    switch (field.wire) {
      case 0: {
        const std::optional<uint64_t> value = Varint();
        if (!value) return std::nullopt;
        field.value = *value;
        return field;
      }
      case 1:
        size = 8;
        break;
      case 2:
        size = Varint();
        break;
      case 5:
        size = 4;
        break;
    }
    if (!size || *size > rest_.size()) return std::nullopt;
    field.content = rest_.substr(0, *size);
    rest_.remove_prefix(*size);
    if (field.wire == 5) {
      uint32_t bits;
      std::memcpy(&bits, field.content.data(), 4);
      field.value = bits;
    }
    return field;
  }

 private:
  std::optional<uint64_t> Varint() {
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < rest_.size(); ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return value;
      }
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

// Calls take(field) for every field of the message.
template <class Take>
Status ForEachField(std::string_view bytes, const Take& take) {
  for (Fields fields(bytes); !fields.done();) {
    const std::optional<Field> field = fields.Next();
    if (!field) return InvalidError("is no SentencePiece model, or cut short: not a protocol buffer");
    VOLERY_RETURN_IF_ERROR(take(*field));
  }
  return OkStatus();
}

uint32_t WordAt(std::string_view bytes, size_t at) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + at, sizeof word);
  return word;
}

// A normaliser's table: the size of a double array, the array (32-bit units), then texts that end in NUL,
// into which its leaves point. A unit's children lie at (its place ^ its offset) ^ byte.
Status CheckCharsMap(std::string_view table) {
  if (table.empty()) return OkStatus();
  const auto wrong = [](const char* what) {
    return InvalidError("the normaliser's table is damaged: ", what);
  };
  if (table.size() < 4) return wrong("it is shorter than its header");
  const uint32_t size = WordAt(table, 0);
  if (size == 0 || size % 4 != 0 || size > table.size() - 4)
    return wrong("its array is longer than the table");
  const std::string_view units = table.substr(4, size), texts = table.substr(4 + size);
  if (texts.empty() || texts.back() != '\0') return wrong("its texts don't end");
  const size_t count = size / 4;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t unit = WordAt(units, 4 * i);
    if (unit >> 31 != 0 && i != 0) continue;  // a leaf's value
    const size_t children = i ^ (static_cast<size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6));
    if ((children | 0xFF) >= count) return wrong("an offset leaves its array");
    const bool has_leaf = (unit >> 8 & 1) != 0;
    if (has_leaf && (WordAt(units, 4 * children) & 0x7FFFFFFF) >= texts.size())
      return wrong("an offset leaves its texts");
  }
  return OkStatus();
}

class ModelReader {
 public:
  StatusOr<SentencePieceModel> Read(std::string_view bytes) {
    if (bytes.empty()) return InvalidError("is empty");
    VOLERY_RETURN_IF_ERROR(ForEachField(bytes, [&](const Field& field) {
      if (field.wire != 2) return OkStatus();
      switch (field.number) {
        case 1:
          return ReadPiece(field.content);
        case 2:
          return ReadTrainer(field.content);
        case 3:
          return ReadNormalizer(field.content);
        case 5:
          return ReadDenormalizer(field.content);
      }
      return OkStatus();
    }));
    VOLERY_RETURN_IF_ERROR(CheckWhole());
    return std::move(model_);
  }

 private:
  Status ReadPiece(std::string_view bytes) {
    SentencePieceModel::Piece piece;
    const size_t id = model_.pieces.size();
    VOLERY_RETURN_IF_ERROR(ForEachField(bytes, [&](const Field& field) {
      if (field.number == 1 && field.wire == 2) piece.text = field.content;
      if (field.number == 2 && field.wire == 5)
        piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
      if (field.number == 3 && field.wire == 0) {
        if (field.value < 1 || field.value > 6)
          return InvalidError("piece ", id, " is of unknown type ", field.value);
        piece.kind = static_cast<PieceKind>(field.value);
      }
      return OkStatus();
    }));
    if (piece.text.empty()) return InvalidError("piece ", id, " is empty");
    if (!IsValidUtf8(piece.text) || piece.text.find('\0') != std::string::npos) {
      return InvalidError("piece ", id, " is no UTF-8 text");
    }
    if (!(std::fabs(piece.score) <= kMostScore))
      return InvalidError("piece ", id, " has the score ", piece.score);
    if (!seen_.insert(piece.text).second) return InvalidError("piece ", id, " again: '", piece.text, "'");
    unknown_ += piece.kind == PieceKind::kUnknown;
    // Merging begins with characters, and the library gives one that is a control piece that piece's id.
    const bool one_character = CodePointAt(piece.text, 0).length == piece.text.size();
    if (piece.kind == PieceKind::kControl && one_character) control_character_ = piece.text;
    if (piece.kind == PieceKind::kByte) {
      ++bytes_;
      if (!PieceByte(piece.text)) return InvalidError("piece ", id, ", '", piece.text, "', names no byte");
    }
    model_.pieces.push_back(std::move(piece));
    return OkStatus();
  }

  Status ReadTrainer(std::string_view bytes) {
    return ForEachField(bytes, [&](const Field& field) {
      if (field.number == 3 && field.wire == 0) type_ = field.value;
      if (field.number == 24 && field.wire == 0) suffix_ = field.value != 0;
      if (field.number == 35 && field.wire == 0) byte_fallback_ = field.value != 0;
      if (field.number == 44 && field.wire == 2) model_.unknown_surface = field.content;
      return OkStatus();
    });
  }

  Status ReadNormalizer(std::string_view bytes) {
    return ForEachField(bytes, [&](const Field& field) {
      if (field.number == 2 && field.wire == 2) return CheckCharsMap(field.content);
      if (field.number == 3 && field.wire == 0) model_.add_dummy_prefix = field.value != 0;
      if (field.number == 4 && field.wire == 0) model_.remove_extra_whitespaces = field.value != 0;
      return OkStatus();
    });
  }

  Status ReadDenormalizer(std::string_view bytes) {
    return ForEachField(bytes, [&](const Field& field) {
      if (field.number == 2 && field.wire == 2 && !field.content.empty()) {
        return InvalidError("rewrites text after decoding (denormalizer_spec), which is not supported");
      }
      return OkStatus();
    });
  }

  Status CheckWhole() {
    if (type_ != 1 && type_ != 2) {
      return InvalidError("is of model type ", type_, "; unigram (1) and BPE (2) are supported");
    }
    model_.bpe = type_ == 2;
    if (model_.bpe && !control_character_.empty()) {
      return InvalidError("the single character '", control_character_,
                          "' is a control piece, which the library can't tell from text");
    }
    if (suffix_) return InvalidError("writes white space behind words, which is not supported");
    if (unknown_ != 1) return InvalidError("has ", unknown_, " unknown pieces instead of one");
    if (byte_fallback_ && bytes_ != 256)
      return InvalidError("falls back on bytes, but has ", bytes_, " of the 256 byte pieces");
    if (!byte_fallback_ && bytes_ != 0)
      return InvalidError("has byte pieces, but doesn't fall back on bytes");
    if (!IsValidUtf8(model_.unknown_surface)) return InvalidError("its unk_surface is no UTF-8 text");
    return OkStatus();
  }

  SentencePieceModel model_;
  std::unordered_set<std::string> seen_;
  uint64_t type_ = 1;
  bool suffix_ = false, byte_fallback_ = false;
  int unknown_ = 0, bytes_ = 0;
  std::string control_character_;
};

}  // namespace

std::optional<uint8_t> PieceByte(std::string_view piece) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const size_t high = kHex.find(piece[3]), low = kHex.find(piece[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

StatusOr<SentencePieceModel> ReadSentencePieceModel(std::string_view bytes, const std::string& where) {
  StatusOr<SentencePieceModel> model = ModelReader().Read(bytes);
  if (!model.ok()) return InvalidError(where, ": ", Message(model.status()));
  return model;
}

}  // namespace volery::text
