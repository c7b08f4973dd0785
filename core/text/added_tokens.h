#pragma once
// Added tokens: strings that are cut out of a text before anything else looks at it. Leftmost match, longest
// at a place; options as Hugging Face's AddedToken has them. Immutable after Make; thread-safe.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace volery::text {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // only between characters that aren't word characters
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for in the normalised text
  bool special = false;      // left out by Decode(skip_special)
};

class AddedTokenMatcher {
 public:
  struct Segment {
    std::string_view text;
    int32_t id;  // -1: text between added tokens
  };
  AddedTokenMatcher() { starts_.fill(false); }
  // `tokens` with the content to look for; an earlier one of equal content wins.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  // Appends the segments of valid UTF-8. A special token is taken as text when !parse_special.
  void Split(std::string_view text, bool parse_special, std::vector<Segment>* out) const;

 private:
  struct Node {
    int32_t token = -1;                                       // index in tokens_ of what ends here
    std::vector<std::pair<unsigned char, int32_t>> children;  // by byte
  };
  int32_t Child(int32_t node, unsigned char byte) const;
  // Index of the longest token at `at`, or -1.
  int32_t LongestAt(std::string_view text, size_t at) const;
  void Emit(const AddedToken& token, std::string_view text, size_t begin, size_t end, size_t* done,
            std::vector<Segment>* out) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<bool, 256> starts_{};
};

}  // namespace volery::text
