#include "core/text/pre_tokenizer.h"

#include "core/text/unicode.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

using Ranges = std::vector<Pieces::Range>;

void Append(size_t begin, size_t end, Ranges* out) {
  if (end > begin) out->push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
}

void SplitDigits(std::string_view text, Pieces::Range range, bool runs, Ranges* out) {
  const uint8_t* classes = CharacterClasses();
  size_t start = range.begin;
  bool in_run = false;
  for (size_t at = range.begin; at < range.end;) {
    const CodePoint c = CodePointAt(text, at);
    const bool number = (classes[c.value] & kNumeric) != 0;
    if (number ? !(runs && in_run) : in_run) {
      Append(start, at, out);
      start = at;
    }
    in_run = number;
    at += c.length;
    if (number && !runs) {
      Append(start, at, out);
      start = at;
      in_run = false;
    }
  }
  Append(start, range.end, out);
}

void SplitRegex(std::string_view text, Pieces::Range range, const RegexSplitter& regex, bool drop_gaps,
                Ranges* out) {
  regex.Split(text.substr(range.begin, range.end - range.begin), [&](size_t begin, size_t end, bool matched) {
    if (matched || !drop_gaps) Append(range.begin + begin, range.begin + end, out);
  });
}

void PrefixSpaces(Pieces* pieces) {
  std::string text;
  Ranges ranges;
  for (const Pieces::Range& range : pieces->ranges) {
    const std::string_view piece = pieces->text.substr(range.begin, range.end - range.begin);
    const size_t begin = text.size();
    if (piece.front() != ' ') text += ' ';
    text += piece;
    Append(begin, text.size(), &ranges);
  }
  pieces->owned = std::move(text);
  pieces->text = pieces->owned;
  pieces->ranges = std::move(ranges);
}

}  // namespace

StatusOr<PreTokenizer> PreTokenizer::Make(std::vector<SplitStep> steps) {
  PreTokenizer made;
  made.steps_ = std::move(steps);
  for (const SplitStep& step : made.steps_) {
    std::shared_ptr<const RegexSplitter> regex;
    if (step.kind == SplitStep::Kind::kRegex) {
      VOLERY_ASSIGN_OR_RETURN(regex, RegexSplitter::Compile(step.regex));
    }
    made.regexes_.push_back(std::move(regex));
  }
  return made;
}

void PreTokenizer::Split(std::string_view text, Pieces* pieces) const {
  pieces->text = text;
  pieces->ranges.clear();
  Append(0, text.size(), &pieces->ranges);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const SplitStep& step = steps_[i];
    if (step.kind == SplitStep::Kind::kPrefixSpace) {
      PrefixSpaces(pieces);
      continue;
    }
    pieces->scratch.clear();
    for (const Pieces::Range& range : pieces->ranges) {
      if (step.kind == SplitStep::Kind::kDigits)
        SplitDigits(pieces->text, range, step.runs, &pieces->scratch);
      if (step.kind == SplitStep::Kind::kPattern)
        SplitByPattern(step.pattern, pieces->text, range, &pieces->scratch);
      if (step.kind == SplitStep::Kind::kRegex) {
        SplitRegex(pieces->text, range, *regexes_[i], step.drop_gaps, &pieces->scratch);
      }
    }
    std::swap(pieces->ranges, pieces->scratch);
  }
}

}  // namespace volery::text
