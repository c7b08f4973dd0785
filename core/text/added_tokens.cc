#include "core/text/added_tokens.h"

#include <algorithm>

#include "core/text/unicode.h"
#include "core/text/utf8.h"

namespace volery::text {
namespace {

size_t SpacesBackward(std::string_view text, size_t end) {
  const uint8_t* classes = CharacterClasses();
  while (end > 0) {
    const size_t start = CharacterBefore(text, end);
    if (!(classes[CodePointAt(text, start).value] & kSpace)) break;
    end = start;
  }
  return end;
}

size_t SpacesForward(std::string_view text, size_t at) {
  const uint8_t* classes = CharacterClasses();
  while (at < text.size()) {
    const CodePoint c = CodePointAt(text, at);
    if (!(classes[c.value] & kSpace)) break;
    at += c.length;
  }
  return at;
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  const uint8_t* classes = CharacterClasses();
  if (begin > 0 && classes[CodePointAt(text, CharacterBefore(text, begin)).value] & kWord) return false;
  return end == text.size() || !(classes[CodePointAt(text, end).value] & kWord);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  starts_.fill(false);
  nodes_.emplace_back();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    int32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<unsigned char>(c);
      int32_t child = Child(node, byte);
      if (child < 0) {
        child = static_cast<int32_t>(nodes_.size());
        nodes_[static_cast<size_t>(node)].children.emplace_back(byte, child);
        nodes_.emplace_back();
      }
      node = child;
    }
    Node& last = nodes_[static_cast<size_t>(node)];
    if (node != 0 && last.token < 0) last.token = static_cast<int32_t>(i);
    if (node != 0) starts_[static_cast<unsigned char>(tokens_[i].content.front())] = true;
  }
}

int32_t AddedTokenMatcher::Child(int32_t node, unsigned char byte) const {
  for (const auto& [label, child] : nodes_[static_cast<size_t>(node)].children) {
    if (label == byte) return child;
  }
  return -1;
}

int32_t AddedTokenMatcher::LongestAt(std::string_view text, size_t at) const {
  int32_t node = 0, best = -1;
  for (; at < text.size(); ++at) {
    node = Child(node, static_cast<unsigned char>(text[at]));
    if (node < 0) break;
    if (nodes_[static_cast<size_t>(node)].token >= 0) best = nodes_[static_cast<size_t>(node)].token;
  }
  return best;
}

void AddedTokenMatcher::Emit(const AddedToken& token, std::string_view text, size_t begin, size_t end,
                             size_t* done, std::vector<Segment>* out) const {
  if (token.single_word && !StandsAlone(text, begin, end)) return;
  if (token.lstrip) begin = std::max(SpacesBackward(text, begin), *done);
  if (token.rstrip) end = SpacesForward(text, end);
  if (*done < begin) out->push_back({text.substr(*done, begin - *done), -1});
  out->push_back({text.substr(begin, end - begin), token.id});
  *done = end;
}

void AddedTokenMatcher::Split(std::string_view text, bool parse_special, std::vector<Segment>* out) const {
  size_t done = 0;
  for (size_t at = 0; !tokens_.empty() && at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const int32_t index = LongestAt(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    const size_t end = at + token.content.size();
    if (parse_special || !token.special) Emit(token, text, at, end, &done, out);
    at = end;
  }
  if (done < text.size()) out->push_back({text.substr(done), -1});
}

}  // namespace volery::text
