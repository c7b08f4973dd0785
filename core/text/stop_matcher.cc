#include "core/text/stop_matcher.h"

#include <algorithm>

#include "core/text/utf8.h"

namespace volery::text {

StopRules::StopRules(std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> ids)
    : tokenizer_(std::move(tokenizer)), ids_(std::move(ids)) {
  std::sort(ids_.begin(), ids_.end());
}

StatusOr<std::shared_ptr<const StopRules>> StopRules::Make(std::shared_ptr<const Tokenizer> tokenizer,
                                                           std::vector<int32_t> ids,
                                                           const std::vector<std::string>& texts) {
  std::shared_ptr<StopRules> rules(new StopRules(std::move(tokenizer), std::move(ids)));
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) return InvalidError("stop text ", i, " is empty: every text would end at once");
    if (!IsValidUtf8(texts[i])) return InvalidError("stop text ", i, " is not UTF-8");
    rules->AddText(texts[i]);
  }
  rules->LinkStates();
  return rules;
}

bool StopRules::Ends(int32_t id) const {
  return std::binary_search(ids_.begin(), ids_.end(), id);
}

void StopRules::AddText(std::string_view text) {
  uint32_t state = 0;
  for (const char byte : text) {
    const uint32_t known = Next(state, byte);
    const auto fresh = static_cast<uint32_t>(states_.size());
    states_[state].next[static_cast<unsigned char>(byte)] = known != 0 ? known : fresh;
    if (known == 0) states_.emplace_back();
    state = known != 0 ? known : fresh;
  }
  states_[state].complete = static_cast<uint32_t>(text.size());
}

// Aho and Corasick's automaton: breadth first, so that shorter states are finished before longer ones.
void StopRules::LinkStates() {
  std::vector<uint32_t> order = {0};
  for (size_t i = 0; i < order.size(); ++i) {
    State& state = states_[order[i]];
    const State& shorter = states_[state.shorter];
    state.complete = std::max(state.complete, shorter.complete);
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t inherited = order[i] == 0 ? 0 : shorter.next[byte];
      const uint32_t child = state.next[byte];
      if (child == 0) {
        state.next[byte] = inherited;
      } else {
        states_[child].shorter = inherited;
        order.push_back(child);
      }
    }
  }
}

std::string_view StopRules::BeforeStop(std::string_view text) const {
  uint32_t state = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    state = Next(state, text[at]);
    if (states_[state].complete > 0) return text.substr(0, at + 1 - states_[state].complete);
  }
  return text;
}

Stop StopMatcher::Push(int32_t id) {
  if (!rules_) return Stop::kNone;
  if (rules_->Ends(id)) return Stop::kId;
  std::string bytes;
  rules_->tokenizer_->AppendToken(id, &at_start_, &bytes);
  for (const char byte : bytes) {
    state_ = rules_->Next(state_, byte);
    if (rules_->states_[state_].complete > 0) return Stop::kText;
  }
  return Stop::kNone;
}

std::string CompletionText(const Tokenizer& tokenizer, std::span<const int32_t> ids, bool stopped,
                           std::span<const int32_t> stop_ids, const StopRules* rules) {
  if (stopped && !ids.empty() && std::ranges::find(stop_ids, ids.back()) != stop_ids.end())
    return tokenizer.Decode(ids.first(ids.size() - 1), false);
  const std::string text = tokenizer.Decode(ids, false);
  return stopped && rules ? std::string(rules->BeforeStop(text)) : text;
}

}  // namespace volery::text
