#pragma once
// Text of a growing list of ids: each Push returns what is new and certain; bytes of a character that isn't
// complete yet are held back. All that Push and Finish return, joined, equals Tokenizer::Decode of all ids.
// One thread.

#include <cstdint>
#include <memory>
#include <string>

#include "core/text/tokenizer.h"

namespace volery::text {

class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  std::string Push(int32_t id);
  // What was held back, as U+FFFD; the decoder is as new afterwards.
  std::string Finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  bool at_start_ = true;
  std::string held_;
};

}  // namespace volery::text
