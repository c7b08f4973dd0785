#include "core/text/scanner.h"

#include "core/text/unicode.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr char kGpt2Regex[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kQwenRegex[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kLlama3Regex[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), classes_(CharacterClasses()) {}

  size_t Gpt2(size_t begin) const {
    if (text_[begin] == '\'') {
      if (const size_t length = Contraction<false>(begin)) return begin + length;
    }
    const size_t at = text_[begin] == ' ' && begin + 1 < text_.size() ? begin + 1 : begin;
    const uint8_t bits = ClassAt(at);
    if (bits & kLetter) return Skip(at, kLetter);
    if (bits & kNumber) return Skip(at, kNumber);
    if (!(bits & kSpace)) return SkipOther(at);
    return WhiteSpace<false>(begin);
  }

  size_t Qwen(size_t begin, int digits) const {
    if (text_[begin] == '\'') {
      if (const size_t length = Contraction<true>(begin)) return begin + length;
    }
    const CodePoint first = CodePointAt(text_, begin);
    const uint8_t bits = classes_[first.value];
    const size_t next = begin + first.length;
    if (bits & kLetter) return Skip(next, kLetter);
    if (bits & kNumber) return SkipNumbers(next, digits - 1);
    const bool more = next < text_.size();
    const uint8_t next_bits = more ? ClassAt(next) : 0;
    if (!(bits & kNewline) && (next_bits & kLetter)) return Skip(next, kLetter);
    if (!(bits & kSpace)) return Skip(SkipOther(next), kNewline);
    if (first.value == ' ' && more && !(next_bits & (kSpace | kLetter | kNumber))) {
      return Skip(SkipOther(next), kNewline);
    }
    return WhiteSpace<true>(begin);
  }

 private:
  uint8_t ClassAt(size_t at) const { return classes_[CodePointAt(text_, at).value]; }

  size_t Skip(size_t at, uint8_t mask) const {
    while (at < text_.size()) {
      const CodePoint c = CodePointAt(text_, at);
      if (!(classes_[c.value] & mask)) break;
      at += c.length;
    }
    return at;
  }

  size_t SkipOther(size_t at) const {
    while (at < text_.size()) {
      const CodePoint c = CodePointAt(text_, at);
      if (classes_[c.value] & (kLetter | kNumber | kSpace)) break;
      at += c.length;
    }
    return at;
  }

  size_t SkipNumbers(size_t at, int at_most) const {
    for (; at_most > 0 && at < text_.size(); --at_most) {
      const CodePoint c = CodePointAt(text_, at);
      if (!(classes_[c.value] & kNumber)) break;
      at += c.length;
    }
    return at;
  }

  // Bytes of 's 't 'm 'd 're 've 'll at an apostrophe, or 0. U+017F folds to s.
  template <bool any_case>
  size_t Contraction(size_t begin) const {
    const auto lower = [&](size_t at) {
      const char c = at < text_.size() ? text_[at] : '\0';
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    const char first = lower(begin + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const char second = lower(begin + 2);
    if ((first == 'r' || first == 'v') && second == 'e') return 3;
    if (first == 'l' && second == 'l') return 3;
    if (any_case && text_.substr(begin + 1, 2) == "\xC5\xBF") return 3;
    return 0;
  }

  // A run of white space: up to its last newline; else all of it at the end of the text; else all but its
  // last character, which joins what follows; a single character stands alone.
  template <bool stop_at_newline>
  size_t WhiteSpace(size_t begin) const {
    size_t at = begin, last_start = begin, after_newline = 0;
    while (at < text_.size()) {
      const CodePoint c = CodePointAt(text_, at);
      const uint8_t bits = classes_[c.value];
      if (!(bits & kSpace)) break;
      last_start = at;
      at += c.length;
      if (bits & kNewline) after_newline = at;
    }
    if (stop_at_newline && after_newline > 0) return after_newline;
    if (at == text_.size() || last_start == begin) return at;
    return last_start;
  }

  std::string_view text_;
  const uint8_t* classes_;
};

}  // namespace

std::optional<KnownPattern> RecognisePattern(const std::string& regex) {
  for (KnownPattern pattern : {KnownPattern::kGpt2, KnownPattern::kQwen, KnownPattern::kLlama3}) {
    if (regex == PatternRegex(pattern)) return pattern;
  }
  return std::nullopt;
}

const char* PatternRegex(KnownPattern pattern) {
  switch (pattern) {
    case KnownPattern::kGpt2:
      return kGpt2Regex;
    case KnownPattern::kQwen:
      return kQwenRegex;
    case KnownPattern::kLlama3:
      return kLlama3Regex;
  }
  return kGpt2Regex;
}

void SplitByPattern(KnownPattern pattern, std::string_view text, PieceRange range,
                    std::vector<PieceRange>* out) {
  const Scanner scanner(text.substr(0, range.end));
  const auto split = [&](auto piece_end) {
    for (uint32_t at = range.begin; at < range.end;) {
      const auto end = static_cast<uint32_t>(piece_end(at));
      out->push_back({at, end});
      at = end;
    }
  };
  switch (pattern) {
    case KnownPattern::kGpt2:
      return split([&](size_t at) { return scanner.Gpt2(at); });
    case KnownPattern::kQwen:
      return split([&](size_t at) { return scanner.Qwen(at, 1); });
    case KnownPattern::kLlama3:
      return split([&](size_t at) { return scanner.Qwen(at, 3); });
  }
}

}  // namespace volery::text
