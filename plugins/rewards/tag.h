#pragma once
// The text inside <tag>...</tag>. No attributes, no nesting.

#include <optional>
#include <string>
#include <string_view>

namespace volery::rewards {

// Nothing unless the text holds exactly one opening and, after it, exactly one closing tag.
inline std::optional<std::string_view> InsideTag(std::string_view text, const std::string& tag) {
  const std::string open = "<" + tag + ">", close = "</" + tag + ">";
  size_t begin = text.find(open), end = text.find(close);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin + open.size())
    return std::nullopt;
  if (text.find(open, begin + 1) != std::string_view::npos ||
      text.find(close, end + 1) != std::string_view::npos)
    return std::nullopt;
  begin += open.size();
  return text.substr(begin, end - begin);
}

inline bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// Without ASCII whitespace at both ends.
inline std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace volery::rewards
