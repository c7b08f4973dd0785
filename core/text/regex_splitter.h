#pragma once
// Splitting by a regular expression that no hand-written scanner knows, with PCRE2 (UTF, Unicode properties).
// The white space escape means what Oniguruma means by it (Unicode White_Space), as Hugging Face tokenizers
// has it. Immutable after Compile; thread-safe.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace volery::text {

class RegexSplitter {
 public:
  // InvalidArgument with PCRE2's reason and the place in the expression.
  static StatusOr<std::shared_ptr<const RegexSplitter>> Compile(const std::string& regex);
  ~RegexSplitter();
  RegexSplitter(const RegexSplitter&) = delete;
  RegexSplitter& operator=(const RegexSplitter&) = delete;

  const std::string& regex() const { return regex_; }
  // Calls `visit(begin, end, matched)` for matches and for what lies between them, in order, none of them
  // empty. `text` must be valid UTF-8. Time is that of a backtracking engine: it depends on the expression.
  using Visit = std::function<void(size_t begin, size_t end, bool matched)>;
  void Split(std::string_view text, const Visit& visit) const;

 private:
  RegexSplitter(std::string regex, void* code) : regex_(std::move(regex)), code_(code) {}
  std::string regex_;
  void* code_;  // pcre2_code
};

}  // namespace volery::text
