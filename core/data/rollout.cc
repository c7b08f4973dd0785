#include "core/data/rollout.h"

#include <algorithm>

namespace volery::data {
namespace {

template <class Value, class Append>
std::vector<Value> Join(const Rollout& rollout, Append append) {
  std::vector<Value> out;
  out.reserve(static_cast<size_t>(rollout.Length()));
  for (const Span& span : rollout.spans) append(span, out);
  return out;
}

}  // namespace

const char* StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kStop:
      return "stop";
    case StopReason::kLength:
      return "length";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "cancelled";
}

const char* RewardStatusName(RewardStatus status) {
  switch (status) {
    case RewardStatus::kOk:
      return "ok";
    case RewardStatus::kTimeout:
      return "timeout";
    case RewardStatus::kError:
      return "error";
    case RewardStatus::kNotApplicable:
      return "not_applicable";
  }
  return "error";
}

int64_t Rollout::PromptLength() const {
  if (spans.empty() || spans.front().origin != SpanOrigin::kPrompt) return 0;
  return static_cast<int64_t>(spans.front().tokens.size());
}

int64_t Rollout::Length() const {
  int64_t length = 0;
  for (const Span& span : spans) length += static_cast<int64_t>(span.tokens.size());
  return length;
}

int64_t Rollout::SampledLength() const {
  int64_t length = 0;
  for (const Span& span : spans) {
    if (span.origin == SpanOrigin::kSampled) length += static_cast<int64_t>(span.tokens.size());
  }
  return length;
}

VersionId Rollout::OldestVersion() const {
  VersionId oldest(-1);
  for (const Span& span : spans) {
    for (const VersionMark& mark : span.versions) {
      if (oldest == VersionId(-1) || mark.oldest_state < oldest) oldest = mark.oldest_state;
    }
  }
  return oldest;
}

std::vector<int32_t> Rollout::Tokens() const {
  return Join<int32_t>(*this, [](const Span& span, std::vector<int32_t>& out) {
    out.insert(out.end(), span.tokens.begin(), span.tokens.end());
  });
}

std::vector<float> Rollout::Logprobs() const {
  return Join<float>(*this, [](const Span& span, std::vector<float>& out) {
    const size_t end = out.size() + span.tokens.size();
    out.insert(out.end(), span.logprobs.begin(), span.logprobs.end());
    out.resize(end, 0.0f);
  });
}

std::vector<uint8_t> Rollout::LossMask() const {
  return Join<uint8_t>(*this, [](const Span& span, std::vector<uint8_t>& out) {
    const size_t end = out.size() + span.tokens.size();
    out.insert(out.end(), span.loss_mask.begin(), span.loss_mask.end());
    out.resize(end, span.loss_mask.empty() && span.origin == SpanOrigin::kSampled ? 1 : 0);
  });
}

std::vector<int64_t> Rollout::Versions() const {
  return Join<int64_t>(*this, [](const Span& span, std::vector<int64_t>& out) {
    const size_t begin = out.size();
    out.resize(begin + span.tokens.size(), -1);
    for (const VersionMark& mark : span.versions) {
      const auto from = std::min(span.tokens.size(), static_cast<size_t>(std::max(mark.first, 0)));
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(begin + from), out.end(), mark.version.value);
    }
  });
}

}  // namespace volery::data
