#pragma once
// Where a sampled text ends: at an id that ends it, or as soon as its bytes hold a stop text, wherever the
// borders of tokens lie ("\n\nUser:" may come as "\n\n" "User" ":" or glued to other characters). StopRules
// are made once, immutable and thread-safe; a StopMatcher follows one sequence (one thread) and is cheap to
// copy, for forks. Prompts are not fed.
//
//   VOLERY_ASSIGN_OR_RETURN(auto rules, StopRules::Make(tokenizer, {0}, {"\n\nUser:"}));
//   StopMatcher matcher(rules);
//   do ids.push_back(Sample()); while (matcher.Push(ids.back()) == Stop::kNone);
//   std::string completion(rules->BeforeStop(tokenizer->Decode(ids, false)));  // of kText

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer.h"

namespace volery::text {

enum class Stop : uint8_t { kNone, kId, kText };

class StopRules {
 public:
  // InvalidArgument for a stop text that is empty or no UTF-8. Ids need not have tokens.
  static StatusOr<std::shared_ptr<const StopRules>> Make(std::shared_ptr<const Tokenizer> tokenizer,
                                                         std::vector<int32_t> ids,
                                                         const std::vector<std::string>& texts);

  bool Ends(int32_t id) const;
  // `text` up to the stop text in it that is complete first (the longest, if several end there); all of it
  // when there is none.
  std::string_view BeforeStop(std::string_view text) const;

 private:
  friend class StopMatcher;
  // A state is a beginning of stop texts: the longest that the bytes so far end with. State 0: none.
  struct State {
    std::array<uint32_t, 256> next{};
    uint32_t shorter = 0;   // the longest proper end of it that is a state, too
    uint32_t complete = 0;  // bytes of the longest stop text that it ends with; 0: none
  };

  StopRules(std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> ids);
  void AddText(std::string_view text);
  void LinkStates();
  uint32_t Next(uint32_t state, char byte) const {
    return states_[state].next[static_cast<unsigned char>(byte)];
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> ids_;  // ascending
  std::vector<State> states_ = std::vector<State>(1);
};

class StopMatcher {
 public:
  StopMatcher() = default;  // nothing ends a text
  explicit StopMatcher(std::shared_ptr<const StopRules> rules) : rules_(std::move(rules)) {}

  // Feeds the next sampled id; says whether the text ends with it. Nothing is to be fed after an end.
  Stop Push(int32_t id);

 private:
  std::shared_ptr<const StopRules> rules_;
  uint32_t state_ = 0;
  bool at_start_ = true;
};

// The text of sampled ids, without what ended it: the last id where it is one of `stop_ids`, or a stop text and
// what stands behind it. `stopped`: they ended by a stop, not by their number; `rules` may be null.
std::string CompletionText(const Tokenizer& tokenizer, std::span<const int32_t> ids, bool stopped,
                           std::span<const int32_t> stop_ids, const StopRules* rules);

}  // namespace volery::text
