#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/text/regex_splitter.h"

#include <pcre2.h>

#include <cstdint>
#include <limits>

#include "core/base/log.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

// PCRE2 counts U+180E as white space, Unicode (since 6.3) and Oniguruma don't.
constexpr char kSpaces[] =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

std::string SpellOutWhiteSpace(const std::string& regex) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    if (c == '\\' && i + 1 < regex.size()) {
      const char escaped = regex[++i];
      if (escaped == 's') {
        out += in_class ? std::string(kSpaces) : Cat('[', kSpaces, ']');
      } else if (escaped == 'S' && !in_class) {
        out += Cat("[^", kSpaces, ']');
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

struct Scratch {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  explicit Scratch(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    VOLERY_CHECK(data != nullptr && context != nullptr);
    pcre2_set_match_limit(context, std::numeric_limits<uint32_t>::max());
  }
  ~Scratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};

}  // namespace

StatusOr<std::shared_ptr<const RegexSplitter>> RegexSplitter::Compile(const std::string& regex) {
  const std::string spelled = SpellOutWhiteSpace(regex);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR reason[256] = {};
    pcre2_get_error_message(error, reason, sizeof reason);
    return InvalidError("regular expression '", regex,
                        "' is not understood: ", reinterpret_cast<const char*>(reason), " (at offset ",
                        offset, " of ", spelled, ")");
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not different
  return std::shared_ptr<const RegexSplitter>(new RegexSplitter(regex, code));
}

RegexSplitter::~RegexSplitter() {
  pcre2_code_free(static_cast<pcre2_code*>(code_));
}

void RegexSplitter::Split(std::string_view text, const Visit& visit) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  Scratch scratch(code);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t done = 0, at = 0;
  while (at <= text.size()) {
    int count =
        pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, scratch.data, scratch.context);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      count = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data,
                          scratch.context);
    }
    if (count < 0) {
      if (count != PCRE2_ERROR_NOMATCH) {
        base::LogError("tokenizer: splitting by '", regex_, "' gave up (PCRE2 error ", count, ") at byte ",
                       at, " of ", text.size(), "; the rest is one piece");
      }
      break;
    }
    const PCRE2_SIZE* match = pcre2_get_ovector_pointer(scratch.data);
    const size_t begin = match[0], end = match[1];
    if (end <= begin) {  // an empty match splits nothing
      if (begin >= text.size()) break;
      at = begin + CodePointAt(text, begin).length;
      continue;
    }
    if (begin > done) visit(done, begin, false);
    visit(begin, end, true);
    done = at = end;
  }
  if (done < text.size()) visit(done, text.size(), false);
}

}  // namespace volery::text
