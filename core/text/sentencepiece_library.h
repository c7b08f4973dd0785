#pragma once
// The sentencepiece library behind plain types. It lies in a module of its own (module/), opened when the first
// model is loaded: ../lib/volery/volery-sentencepiece.so from the program's folder. Loaded models are
// immutable; Encode is thread-safe.

#include <string>
#include <string_view>
#include <vector>

struct VolerySentencePieceTable;

namespace volery::text {

class SentencePieceLibrary {
 public:
  SentencePieceLibrary() = default;
  SentencePieceLibrary(const SentencePieceLibrary&) = delete;
  SentencePieceLibrary& operator=(const SentencePieceLibrary&) = delete;
  ~SentencePieceLibrary();
  // Both: empty, or what is wrong: the module can't be opened, or what the library says. Load trusts the bytes:
  // check them first with sentencepiece_model.h.
  std::string Load(std::string_view model);
  std::string Encode(std::string_view text, std::vector<int>* ids) const;

 private:
  const VolerySentencePieceTable* table_ = nullptr;
  void* model_ = nullptr;
};

}  // namespace volery::text
