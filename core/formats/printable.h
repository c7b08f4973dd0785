#pragma once
// Text from outside for use in messages: short, without control characters.

#include <string>
#include <string_view>

namespace volery::formats {

// `text` with every byte that isn't printable ASCII as '?', cut to 100 bytes.
inline std::string Printable(std::string_view text) {
  constexpr size_t kMost = 100;
  std::string out(text.substr(0, kMost));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text.size() > kMost ? out + "..." : out;
}

}  // namespace volery::formats
