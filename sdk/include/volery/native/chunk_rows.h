#pragma once
// The chunks of one Advance call as flat rows, checked: for plugins' sampling paths.

#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::native {

class ChunkRows {
 public:
  // Throws std::invalid_argument for a slot that comes twice, a first_row outside its chunk, and a token outside
  // the vocabulary: before anything is read.
  ChunkRows(std::span<const Chunk> chunks, int64_t vocabulary) {
    for (const Chunk& chunk : chunks) {
      const int64_t count = static_cast<int64_t>(chunk.tokens.size());
      if (std::find(slots_.begin(), slots_.end(), chunk.slot) != slots_.end())
        throw std::invalid_argument("Advance: slot " + std::to_string(chunk.slot) + " has two chunks in one call");
      if (chunk.first_row < 0 || chunk.first_row > count)
        throw std::invalid_argument("Advance: first_row " + std::to_string(chunk.first_row) + " of a chunk of " +
                                    std::to_string(count));
      slots_.push_back(chunk.slot);
      counts_.push_back(count);
      for (int64_t i = 0; i < count; i++) {
        if (chunk.tokens[i] < 0 || chunk.tokens[i] >= vocabulary)
          throw std::invalid_argument("token " + std::to_string(chunk.tokens[i]) +
                                      " is outside the vocabulary of " + std::to_string(vocabulary));
        if (i >= chunk.first_row) wanted_.push_back(static_cast<int64_t>(tokens_.size()));
        tokens_.push_back(chunk.tokens[i]);
      }
    }
  }
  const std::vector<int64_t>& slots() const { return slots_; }
  const std::vector<int64_t>& counts() const { return counts_; }  // tokens of each slot
  const std::vector<int64_t>& tokens() const { return tokens_; }  // of all slots
  const std::vector<int64_t>& wanted() const { return wanted_; }  // rows whose hidden state is asked for

 private:
  std::vector<int64_t> slots_, counts_, tokens_, wanted_;
};

}  // namespace volery::native
