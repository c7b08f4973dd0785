#pragma once
// What a step of next-token training learns from: lanes of text, cut in contexts. All lanes' first contexts
// are chunk 0, their second ones chunk 1 and so on; a recurrent model goes on from the state that a lane's
// context before left behind. A context is one sequence, or where documents are kept apart one for each
// document in it. Pure functions; thread-safe.

#include <cstdint>
#include <span>
#include <vector>

#include "core/data/packing.h"
#include "core/data/token_source.h"

namespace volery::data {

struct TextPiece {
  int64_t lane = 0;
  int64_t position = 0;    // of its first token in the text that the model has read of it
  bool continues = false;  // begins with the state that the lane's chunk before left
  bool carries = false;    // leaves its state to the lane's next chunk
};

struct TextChunk {
  std::vector<TrainSequence> sequences;
  std::vector<TextPiece> pieces;  // one a sequence
};

struct TextBatch {
  std::vector<TextChunk> chunks;
  int64_t lanes = 0;
};

// Where a lane begins: tokens [offset, offset + contexts x context + 1) of a source.
struct TextWindow {
  const TokenSource* tokens = nullptr;
  int64_t offset = 0;
};

struct TextShape {
  int64_t context = 512;  // tokens that are read; one more is predicted
  int64_t contexts = 1;   // of a lane
  bool apart = false;     // documents don't see each other
  int64_t length() const { return context * contexts; }
};

TextBatch MakeTextBatch(std::span<const TextWindow> lanes, const TextShape& shape);

}  // namespace volery::data
