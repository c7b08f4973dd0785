#pragma once
// The splitting patterns of the families that we know, scanned by hand: one pass, no regular expression
// engine. Text must be valid UTF-8. Linear in the text: white space is read at most three times, everything
// else once.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace volery::text {

enum class KnownPattern {
  kGpt2,    // GPT-2, SmolLM2: case-sensitive contractions, numbers in one run
  kQwen,    // Qwen2, 2.5, 3: contractions in any case, one digit a piece
  kLlama3,  // Llama 3: as Qwen, up to three digits a piece
};

// The pattern that a tokenizer.json spells with this regular expression, if it is one of the known.
std::optional<KnownPattern> RecognisePattern(const std::string& regex);
// A regular expression that means the pattern, for tokenizer.json files that we write. GPT-2's is ByteLevel's
// own.
const char* PatternRegex(KnownPattern pattern);

struct PieceRange {
  uint32_t begin, end;
};

// Appends the pieces of text[range]; what lies around isn't looked at. Every character belongs to some piece.
void SplitByPattern(KnownPattern pattern, std::string_view text, PieceRange range,
                    std::vector<PieceRange>* out);

}  // namespace volery::text
