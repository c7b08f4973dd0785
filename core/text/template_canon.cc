#include "core/text/template_canon.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace volery::text {
namespace {

constexpr char kBlank[] = " \t\r\n\v\f";

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

void ReplaceAll(std::string_view from, std::string_view to, std::string* text) {
  for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + to.size())) {
    text->replace(at, from.size(), to);
  }
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Reads a string literal that starts at `at` (a quote); returns the position behind it.
size_t ReadLiteral(std::string_view text, size_t at, std::string* value) {
  const char quote = text[at++];
  while (at < text.size() && text[at] != quote) {
    char c = text[at++];
    if (c == '\\' && at < text.size()) {
      c = text[at++];
      if (c == 'n') c = '\n';
      if (c == 't') c = '\t';
      if (c == 'r') c = '\r';
    }
    *value += c;
  }
  return at < text.size() ? at + 1 : at;
}

bool IsName(const std::string& text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0]))) return false;
  for (const char c : text) {
    if (!IsNameCharacter(c)) return false;
  }
  return true;
}

// The code between tag marks: no white space except between names, double quotes, x['name'] as x.name.
std::string CanonicalCode(std::string_view code) {
  std::string out;
  bool blank = false;
  for (size_t at = 0; at < code.size();) {
    const char c = code[at];
    if (std::isspace(static_cast<unsigned char>(c))) {
      blank = true;
      ++at;
      continue;
    }
    if (blank && !out.empty() && IsNameCharacter(out.back()) && IsNameCharacter(c)) out += ' ';
    blank = false;
    if (c != '\'' && c != '"') {
      out += c;
      ++at;
      continue;
    }
    std::string value;
    at = ReadLiteral(code, at, &value);
    const bool subscript = out.size() > 1 && out.back() == '[' &&
                           (IsNameCharacter(out[out.size() - 2]) || out[out.size() - 2] == ']');
    if (subscript && at < code.size() && code[at] == ']' && IsName(value)) {
      out.back() = '.';
      out += value;
      ++at;
    } else {
      out += Quote(value);
    }
  }
  return out;
}

// End of the tag's code: the position of its closing mark outside of literals, or the end of the text.
size_t FindClose(std::string_view text, size_t at, std::string_view close, bool literals) {
  while (at < text.size()) {
    if (text.substr(at, close.size()) == close) return at;
    if (literals && (text[at] == '\'' || text[at] == '"')) {
      std::string ignored;
      at = ReadLiteral(text, at, &ignored);
    } else {
      ++at;
    }
  }
  return at;
}

// Text between tags after white-space control. `after_block`: the tag before was a statement or comment.
std::string TrimRaw(std::string_view raw, bool after_strip, bool after_block, bool at_start,
                    bool before_strip, bool before_block) {
  size_t begin = 0, end = raw.size();
  if (before_block && !before_strip) {
    const size_t last = raw.find_last_not_of(" \t");
    const bool line_start = last == std::string_view::npos ? at_start : raw[last] == '\n';
    if (line_start) end = last == std::string_view::npos ? 0 : last + 1;
  }
  if (before_strip) {
    const size_t last = raw.find_last_not_of(kBlank);
    end = last == std::string_view::npos ? 0 : last + 1;
  }
  if (after_strip) {
    const size_t first = raw.find_first_not_of(kBlank);
    begin = first == std::string_view::npos ? raw.size() : first;
  } else if (after_block && !raw.empty() && raw[0] == '\n') {
    begin = 1;
  }
  return begin < end ? std::string(raw.substr(begin, end - begin)) : "";
}

// One tag of the template, or its end (kind 0), with the text before it.
struct Tag {
  char kind = 0;  // '{' expression, '%' statement, '#' comment
  std::string_view raw, code;
  bool strip_before = false, strip_after = false, plus_before = false;
  size_t next = 0;  // position behind the tag
};

Tag ReadTag(std::string_view text, size_t at) {
  Tag tag;
  size_t open = at;
  const auto opens = [&](size_t i) {
    return text[i] == '{' && i + 1 < text.size() &&
           (text[i + 1] == '{' || text[i + 1] == '%' || text[i + 1] == '#');
  };
  while (open < text.size() && !opens(open)) ++open;
  tag.raw = text.substr(at, open - at);
  tag.next = text.size();
  if (open == text.size()) return tag;
  tag.kind = text[open + 1];
  size_t code = open + 2;
  tag.strip_before = code < text.size() && text[code] == '-';
  tag.plus_before = code < text.size() && text[code] == '+';
  if (tag.strip_before || tag.plus_before) ++code;
  const char* close = tag.kind == '{' ? "}}" : tag.kind == '%' ? "%}" : "#}";
  const size_t end = FindClose(text, code, close, tag.kind != '#');
  tag.strip_after = end > code && text[end - 1] == '-';
  tag.code = text.substr(code, end - code - (tag.strip_after ? 1 : 0));
  tag.next = std::min(end + 2, text.size());
  return tag;
}

}  // namespace

std::string CanonicalTemplate(const std::string& jinja_text) {
  std::string unix_text = jinja_text;
  ReplaceAll("\r\n", "\n", &unix_text);
  std::string_view text = unix_text;
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::string out;
  bool after_strip = false, after_block = false;
  for (size_t at = 0; at < text.size();) {
    const Tag tag = ReadTag(text, at);
    const bool before_block = (tag.kind == '%' || tag.kind == '#') && !tag.plus_before;
    const std::string raw =
        TrimRaw(tag.raw, after_strip, after_block, at == 0, tag.strip_before, before_block);
    if (!raw.empty()) out += "{{" + Quote(raw) + "}}";
    if (tag.kind == '{') out += "{{" + CanonicalCode(tag.code) + "}}";
    if (tag.kind == '%') out += "{%" + CanonicalCode(tag.code) + "%}";
    after_strip = tag.strip_after;
    after_block = tag.kind != '{';
    at = tag.next;
  }
  ReplaceAll("}}{{", "+", &out);
  ReplaceAll("\"+\"", "", &out);
  return out;
}

}  // namespace volery::text
