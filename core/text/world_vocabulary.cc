#include "core/text/world_vocabulary.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "core/text/utf8.h"

namespace volery::text {
namespace {

constexpr int64_t kHighestId = 65535;  // of the 65,536 rows that World models have

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Nothing when it is no number below 10^9.
std::optional<int64_t> Number(std::string_view text) {
  if (!IsDigits(text) || text.size() > 9) return std::nullopt;
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<uint32_t> Hex(std::string_view text, size_t digits) {
  uint32_t value = 0;
  if (text.size() < digits) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value, 16);
  if (error != std::errc() || end != text.data() + digits) return std::nullopt;
  return value;
}

// One literal, read strictly: whatever Python's repr would have written otherwise is refused.
class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : rest_(text) {}

  StatusOr<std::string> Read() {
    bytes_ = rest_.starts_with('b');
    if (bytes_) rest_.remove_prefix(1);
    if (rest_.size() < 2 || (rest_[0] != '\'' && rest_[0] != '"') || rest_.back() != rest_[0]) {
      return InvalidError("the token is no Python literal in quotes: ", Shown());
    }
    quote_ = rest_[0];
    rest_ = rest_.substr(1, rest_.size() - 2);
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == quote_) return InvalidError("the literal ends before the line's last quote");
      if (c == '\\') {
        VOLERY_RETURN_IF_ERROR(ReadEscape());
      } else {
        VOLERY_RETURN_IF_ERROR(ReadPlain());
      }
    }
    return std::move(out_);
  }

 private:
  std::string Shown() const { return ReplaceInvalidUtf8(rest_.substr(0, 20)); }

  Status ReadPlain() {
    const auto c = static_cast<unsigned char>(rest_[0]);
    if (c < 0x20 || c == 0x7F) return InvalidError("a control character stands unescaped in the literal");
    if (c >= 0x80 && bytes_)
      return InvalidError("a literal of bytes holds a character beyond ASCII: ", Shown());
    out_ += rest_[0];
    rest_.remove_prefix(1);
    return OkStatus();
  }

  Status ReadEscape() {
    const char kind = rest_.size() > 1 ? rest_[1] : '\0';
    constexpr std::string_view kSimple = "\\'\"nrt", kMeaning = "\\'\"\n\r\t";
    if (const size_t at = kSimple.find(kind); kind != '\0' && at != std::string_view::npos) {
      out_ += kMeaning[at];
      rest_.remove_prefix(2);
      return OkStatus();
    }
    const size_t digits = kind == 'x' ? 2 : kind == 'u' && !bytes_ ? 4 : kind == 'U' && !bytes_ ? 8 : 0;
    if (digits == 0) return InvalidError("unknown escape ", Shown());
    const std::optional<uint32_t> value = Hex(rest_.substr(2), digits);
    if (!value) return InvalidError("escape without its ", digits, " hexadecimal digits: ", Shown());
    if (*value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000)) {
      return InvalidError("escape that is no code point: ", Shown());
    }
    rest_.remove_prefix(2 + digits);
    if (bytes_) {
      out_ += static_cast<char>(*value);
    } else {
      AppendUtf8(*value, &out_);
    }
    return OkStatus();
  }

  std::string_view rest_;
  std::string out_;
  bool bytes_ = false;
  char quote_ = '\'';
};

// A bare line begins with its literal, a numbered one with a digit.
bool IsBare(std::string_view line) {
  return !line.empty() && (line[0] < '0' || line[0] > '9');
}

std::string_view FirstLine(std::string_view text) {
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

class Reader {
 public:
  // `lines`: at least as many as will be read.
  Reader(bool numbered, size_t lines) {
    vocabulary_.numbered = numbered;
    vocabulary_.tokens.reserve(lines + 1);
    seen_.reserve(lines);
  }

  Status ReadLine(std::string_view line) {
    ++line_;
    if (!IsValidUtf8(line)) return InvalidError("not UTF-8");
    return vocabulary_.numbered ? ReadNumbered(line) : ReadBare(line);
  }

  StatusOr<WorldVocabulary> Finish() {
    if (vocabulary_.tokens.size() < 2) return InvalidError("holds no tokens");
    for (int byte = 0; byte < 256; ++byte) {
      const char single = static_cast<char>(byte);
      if (seen_.contains({&single, 1})) continue;
      return InvalidError("holds no token for the single byte ", byte,
                          ", so not every text could be encoded; is the file cut short?");
    }
    return std::move(vocabulary_);
  }

 private:
  Status ReadNumbered(std::string_view line) {
    const size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) {
      return InvalidError("is not '<id> <token> <bytes>'");
    }
    if (vocabulary_.tokens.empty()) vocabulary_.tokens.emplace_back();
    const std::optional<int64_t> id = Number(line.substr(0, first));
    const std::optional<int64_t> size = Number(line.substr(last + 1));
    if (!id || !size) return InvalidError("is not '<id> <token> <bytes>' with two numbers");
    VOLERY_RETURN_IF_ERROR(CheckId(*id));
    VOLERY_ASSIGN_OR_RETURN(std::string token,
                            LiteralReader(line.substr(first + 1, last - first - 1)).Read());
    if (static_cast<int64_t>(token.size()) != *size) {
      return InvalidError("says ", *size, " bytes, but its token has ", token.size());
    }
    return Add(std::move(token));
  }

  Status CheckId(int64_t id) const {
    const auto due = static_cast<int64_t>(vocabulary_.tokens.size());
    if (id == 0) return InvalidError("gives a token to id 0, which is the end of a document");
    if (id > kHighestId)
      return InvalidError("id ", id, " is above ", kHighestId, ", the highest that World models have");
    if (id < due) return InvalidError("id ", id, " again: line ", id, " has it");
    if (id > due)
      return InvalidError("id ", id, " where ", due, " is due: ids must be 1, 2, ... without holes");
    return OkStatus();
  }

  Status ReadBare(std::string_view line) {
    VOLERY_ASSIGN_OR_RETURN(std::string token, LiteralReader(line).Read());
    if (vocabulary_.tokens.empty()) {
      vocabulary_.tokens.emplace_back();  // what the file writes for the end of a document, "<s>"
      return OkStatus();
    }
    if (static_cast<int64_t>(vocabulary_.tokens.size()) > kHighestId) {
      return InvalidError("more tokens than the ", kHighestId + 1, " ids of World models");
    }
    return Add(std::move(token));
  }

  Status Add(std::string token) {
    if (token.empty()) return InvalidError("its token is empty");
    vocabulary_.tokens.push_back(std::move(token));
    const auto [earlier, fresh] = seen_.emplace(vocabulary_.tokens.back(), line_);
    return fresh ? OkStatus() : InvalidError("the same token as line ", earlier->second);
  }

  WorldVocabulary vocabulary_;
  std::unordered_map<std::string_view, int64_t>
      seen_;  // lines by token; views into the tokens, which never move
  int64_t line_ = 0;
};

}  // namespace

StatusOr<WorldVocabulary> ReadWorldVocabulary(std::string_view text, const std::string& where) {
  const auto ends = std::count(text.begin(), text.end(), '\n');
  Reader reader(!IsBare(FirstLine(text)), static_cast<size_t>(ends) + 1);
  for (int64_t line = 1; !text.empty(); ++line) {
    const std::string_view one = FirstLine(text);
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    if (const Status status = reader.ReadLine(one); !status.ok()) {
      return InvalidError(where, ":", line, ": ", Message(status));
    }
  }
  StatusOr<WorldVocabulary> vocabulary = reader.Finish();
  if (!vocabulary.ok()) return InvalidError(where, ": ", Message(vocabulary.status()));
  return vocabulary;
}

bool LooksLikeWorldVocabulary(std::string_view text) {
  const std::string_view line = FirstLine(text);
  Reader reader(!IsBare(line), 1);
  return reader.ReadLine(line).ok();
}

}  // namespace volery::text
