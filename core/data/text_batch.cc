#include "core/data/text_batch.h"

#include <algorithm>

namespace volery::data {
namespace {

// Tokens [begin, end) of the lane's text, all but the first predicted.
TrainSequence Sequence(std::span<const int32_t> text, std::span<const uint8_t> loss_mask, int64_t lane) {
  TrainSequence sequence;
  sequence.group = lane;
  sequence.tokens.assign(text.begin(), text.end());
  sequence.loss_mask.assign(loss_mask.begin(), loss_mask.end());
  sequence.loss_mask[0] = 0;
  return sequence;
}

class LaneCutter {
 public:
  LaneCutter(const TextWindow& window, const TextShape& shape, int64_t lane)
      : shape_(shape),
        lane_(lane),
        text_(static_cast<size_t>(shape.length() + 1)),
        loss_mask_(static_cast<size_t>(shape.length() + 1)) {
    window.tokens->Copy(window.offset, text_);
    window.tokens->CopyLossMask(window.offset, loss_mask_);
    if (!shape.apart) return;
    begins_ = window.tokens->DocumentsIn(window.offset + 1, window.offset + shape.length() + 1);
    for (int64_t& begin : begins_) begin -= window.offset;
  }

  void AddTo(TextBatch& batch) {
    for (int64_t c = 0; c < shape_.contexts; ++c) {
      const int64_t begin = c * shape_.context, end = begin + shape_.context + 1;
      for (int64_t from = begin; from < end;) {
        const auto next = std::upper_bound(begins_.begin(), begins_.end(), from);
        const int64_t to = next == begins_.end() ? end : std::min(end, *next);
        if (Begins(from)) document_ = from;
        // A single token has nothing to predict; its document goes on in the next context, if at all.
        if (to - from > 1) Add(batch.chunks[static_cast<size_t>(c)], from, to, from == begin, to == end);
        from = to;
      }
    }
  }

 private:
  bool Begins(int64_t at) const { return std::binary_search(begins_.begin(), begins_.end(), at); }

  void Add(TextChunk& chunk, int64_t from, int64_t to, bool first, bool last) const {
    TextPiece piece;
    piece.lane = lane_;
    piece.position = from - document_;
    piece.continues = first && from > 0 && !Begins(from);
    // The token behind the context is the next one's first; where a document begins with it, nothing is
    // carried.
    piece.carries = last && to - 1 < shape_.length() && !Begins(to - 1);
    const auto begin = static_cast<size_t>(from), size = static_cast<size_t>(to - from);
    chunk.sequences.push_back(
        Sequence(std::span(text_).subspan(begin, size), std::span(loss_mask_).subspan(begin, size), lane_));
    chunk.pieces.push_back(piece);
  }

  const TextShape& shape_;
  const int64_t lane_;
  std::vector<int32_t> text_;
  std::vector<uint8_t> loss_mask_;
  std::vector<int64_t> begins_;  // of documents within text_
  int64_t document_ = 0;
};

}  // namespace

TextBatch MakeTextBatch(std::span<const TextWindow> lanes, const TextShape& shape) {
  TextBatch batch;
  batch.lanes = static_cast<int64_t>(lanes.size());
  batch.chunks.resize(static_cast<size_t>(shape.contexts));
  for (size_t lane = 0; lane < lanes.size(); ++lane)
    LaneCutter(lanes[lane], shape, static_cast<int64_t>(lane)).AddTo(batch);
  return batch;
}

}  // namespace volery::data
