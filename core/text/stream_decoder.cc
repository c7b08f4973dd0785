#include "core/text/stream_decoder.h"

#include "core/text/utf8.h"

namespace volery::text {

std::string StreamDecoder::Push(int32_t id) {
  if (skip_special_ && tokenizer_->IsSpecial(id)) return "";
  tokenizer_->AppendToken(id, &at_start_, &held_);
  const size_t ready = held_.size() - IncompleteUtf8Tail(held_);
  std::string text = ReplaceInvalidUtf8(std::string_view(held_).substr(0, ready));
  held_.erase(0, ready);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(held_);
  held_.clear();
  at_start_ = true;
  return text;
}

}  // namespace volery::text
