#pragma once
// The pre-tokenizer: cuts a text into the pieces that BPE merges within. A list of steps, each applied to
// every piece of the step before, as Hugging Face's Sequence does. Immutable; thread-safe.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/regex_splitter.h"
#include "core/text/scanner.h"

namespace volery::text {

struct SplitStep {
  enum class Kind {
    kDigits,       // every number character alone (or, with `runs`, every run of them)
    kPattern,      // a pattern with a scanner of its own
    kRegex,        // any other expression
    kPrefixSpace,  // no cut: a piece that doesn't begin with a space gets one
  };
  Kind kind = Kind::kPattern;
  bool runs = false;
  bool byte_level = false;  // kPattern, kGpt2: spelled as ByteLevel's use_regex rather than as a Split
  KnownPattern pattern = KnownPattern::kGpt2;
  std::string regex;
  bool drop_gaps = false;  // kRegex: text between matches is dropped (behaviour Removed, inverted)
};

// Pieces are ranges of `text`, which is the input, or `owned` where a step had to insert spaces.
struct Pieces {
  using Range = PieceRange;
  std::string_view text;
  std::vector<Range> ranges;
  std::vector<Range> scratch;
  std::string owned;
};

class PreTokenizer {
 public:
  static StatusOr<PreTokenizer> Make(std::vector<SplitStep> steps);
  // Fills `pieces`; none is empty. `text`: valid UTF-8 below 4 GiB.
  void Split(std::string_view text, Pieces* pieces) const;
  const std::vector<SplitStep>& steps() const { return steps_; }

 private:
  std::vector<SplitStep> steps_;
  std::vector<std::shared_ptr<const RegexSplitter>> regexes_;  // one per step, null where none is needed
};

}  // namespace volery::text
