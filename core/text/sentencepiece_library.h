#pragma once
// The sentencepiece library behind plain types. Its header defines absl::string_view as another type than
// Abseil's, so sentencepiece_library.cc alone includes it, and nothing of Abseil. Loaded models are
// immutable; Encode is thread-safe.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace volery::text {

class SentencePieceLibrary {
 public:
  SentencePieceLibrary();
  ~SentencePieceLibrary();
  // Both: empty, or what the library says is wrong. Load trusts the bytes: check them first with
  // sentencepiece_model.h.
  std::string Load(std::string_view model);
  std::string Encode(std::string_view text, std::vector<int>* ids) const;

 private:
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace volery::text
