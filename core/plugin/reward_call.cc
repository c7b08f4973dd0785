#include "core/plugin/reward_call.h"

#include <chrono>
#include <cmath>
#include <deque>

#include "core/base/status.h"

namespace volery::plugin {
namespace {

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

volery_text Text(const std::string& text) {
  return {text.data(), text.size()};
}
std::string Copy(volery_text text) {
  return text.data == nullptr ? std::string() : std::string(text.data, text.size);
}

uint32_t JsonType(const nlohmann::json& value) {
  if (value.is_boolean()) return VOLERY_JSON_BOOL;
  if (value.is_number()) return VOLERY_JSON_NUMBER;
  if (value.is_string()) return VOLERY_JSON_STRING;
  if (value.is_array()) return VOLERY_JSON_ARRAY;
  return value.is_object() ? VOLERY_JSON_OBJECT : VOLERY_JSON_NULL;
}

uint32_t StopCode(data::StopReason stop) {
  switch (stop) {
    case data::StopReason::kStop:
      return VOLERY_STOP_TOKEN;
    case data::StopReason::kLength:
      return VOLERY_STOP_LENGTH;
    case data::StopReason::kCancelled:
      return VOLERY_STOP_CANCELLED;
  }
  return VOLERY_STOP_CANCELLED;
}

uint32_t OriginCode(data::SpanOrigin origin) {
  switch (origin) {
    case data::SpanOrigin::kPrompt:
      return VOLERY_SPAN_PROMPT;
    case data::SpanOrigin::kSampled:
      return VOLERY_SPAN_SAMPLED;
    case data::SpanOrigin::kInserted:
      return VOLERY_SPAN_INSERTED;
  }
  return VOLERY_SPAN_INSERTED;
}

data::RewardStatus StatusOfCode(uint32_t code) {
  switch (code) {
    case VOLERY_REWARD_OK:
      return data::RewardStatus::kOk;
    case VOLERY_REWARD_TIMEOUT:
      return data::RewardStatus::kTimeout;
    case VOLERY_REWARD_NOT_APPLICABLE:
      return data::RewardStatus::kNotApplicable;
    default:
      return data::RewardStatus::kError;
  }
}

}  // namespace

// The C structs of a call; deques keep addresses.
struct RewardCall::Marshalled {
  std::deque<std::string> strings;
  std::deque<volery_reward_span> spans;
  std::deque<volery_reward_column> columns;
  std::deque<volery_reward_sample> samples;
  std::deque<std::vector<const volery_reward_span*>> span_lists;
  std::deque<std::vector<const volery_reward_column*>> column_lists;
  std::vector<const volery_reward_sample*> sample_list;

  void AddColumns(const nlohmann::json& row, volery_reward_sample& out) {
    auto& list = column_lists.emplace_back();
    for (const auto& [key, value] : row.items()) {
      const std::string& name = strings.emplace_back(key);
      const std::string& json =
          strings.emplace_back(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      const volery_text text = value.is_string() ? Text(value.get_ref<const std::string&>()) : Text(json);
      list.push_back(&columns.emplace_back(
          volery_reward_column{sizeof(volery_reward_column), JsonType(value), Text(name), text, Text(json)}));
    }
    out.columns = list.data();
    out.column_count = list.size();
  }

  void Add(const RewardSample& sample) {
    auto& list = span_lists.emplace_back();
    for (const data::Span& span : sample.spans) {
      const bool scored = !span.tokens.empty() && span.logprobs.size() == span.tokens.size();
      list.push_back(&spans.emplace_back(
          volery_reward_span{sizeof(volery_reward_span), OriginCode(span.origin), span.tokens.data(),
                             scored ? span.logprobs.data() : nullptr, span.tokens.size()}));
    }
    volery_reward_sample& out = samples.emplace_back();
    out = {};
    out.size = sizeof(out);
    out.stop_reason = StopCode(sample.stop);
    out.group_id = sample.group.bits;
    out.task_index = sample.task_index;
    out.sample = static_cast<uint32_t>(sample.sample);
    out.task_id = Text(sample.task_id);
    out.task_type = Text(sample.task_type);
    out.prompt = Text(sample.prompt);
    out.completion = Text(sample.completion);
    out.answer = Text(sample.answer);
    out.spans = list.data();
    out.span_count = list.size();
    if (sample.columns != nullptr && sample.columns->is_object()) AddColumns(*sample.columns, out);
    sample_list.push_back(&out);
  }
};

RewardCall::RewardCall(std::vector<RewardSample> samples, bool whole_group)
    : samples_(std::move(samples)),
      marshalled_(std::make_unique<Marshalled>()),
      results_(samples_.size()),
      set_(samples_.size(), false) {
  for (const RewardSample& sample : samples_) marshalled_->Add(sample);
  table_ = {sizeof(volery_reward_call),
            whole_group ? VOLERY_REWARD_CALL_GROUP : 0,
            marshalled_->sample_list.data(),
            samples_.size(),
            this,
            &RemainingMs,
            &Cancelled,
            &SetResultC,
            &SetComponent};
}

RewardCall::~RewardCall() = default;

void RewardCall::Start(int64_t limit_ms) {
  std::lock_guard lock(mutex_);
  last_us_ = NowUs();
  deadline_us_ = last_us_ + limit_ms * 1000;
}

bool RewardCall::cancelled() const {
  return cancelled_ || remaining_ms() <= 0;
}
int64_t RewardCall::remaining_ms() const {
  return (deadline_us_ - NowUs()) / 1000;
}

void RewardCall::Stamp(size_t index) {
  const int64_t now = NowUs();
  results_[index].ms += static_cast<double>(now - last_us_) * 1e-3;
  last_us_ = now;
  set_[index] = true;
}

void RewardCall::SetResult(size_t index, RewardResult result) {
  std::lock_guard lock(mutex_);
  if (finished_ || index >= results_.size()) return;
  results_[index] = std::move(result);
  set_[index] = true;
}

std::vector<RewardResult> RewardCall::Finish(data::RewardStatus status, const std::string& message) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < results_.size(); ++i) {
    if (set_[i]) continue;
    Stamp(i);
    results_[i].status = status;
    results_[i].message = message;
  }
  finished_ = true;
  return std::move(results_);
}

int64_t RewardCall::RemainingMs(const volery_reward_call* call) {
  return static_cast<RewardCall*>(call->context)->remaining_ms();
}
int32_t RewardCall::Cancelled(const volery_reward_call* call) {
  return static_cast<RewardCall*>(call->context)->cancelled();
}

int32_t RewardCall::SetResultC(const volery_reward_call* call, uint64_t index, uint32_t status, double score,
                               volery_text message) {
  try {
    auto& self = *static_cast<RewardCall*>(call->context);
    std::lock_guard lock(self.mutex_);
    if (self.finished_) return VOLERY_CANCELLED;
    if (index >= self.results_.size() || status > VOLERY_REWARD_NOT_APPLICABLE) return VOLERY_INVALID;
    RewardResult& result = self.results_[index];
    result.status = StatusOfCode(status);
    result.score = 0;
    result.message = result.status == data::RewardStatus::kOk ? "" : Copy(message);
    if (result.status == data::RewardStatus::kOk && !std::isfinite(score)) {
      result.status = data::RewardStatus::kError;
      result.message = Cat("the score is not finite (", score, ")");
    } else if (result.status == data::RewardStatus::kOk) {
      result.score = score;
    }
    self.Stamp(index);
    return VOLERY_OK;
  } catch (const std::exception&) {  // nothing may be thrown through a plugin's C frames
    return VOLERY_FAILED;
  }
}

int32_t RewardCall::SetComponent(const volery_reward_call* call, uint64_t index, volery_text name,
                                 double value) {
  try {
    auto& self = *static_cast<RewardCall*>(call->context);
    std::lock_guard lock(self.mutex_);
    if (self.finished_) return VOLERY_CANCELLED;
    if (index >= self.results_.size() || name.size == 0 || !std::isfinite(value)) return VOLERY_INVALID;
    std::string key = Copy(name);
    for (data::RewardComponent& component : self.results_[index].components) {
      if (component.name == key) {
        component.value = value;
        return VOLERY_OK;
      }
    }
    self.results_[index].components.push_back({std::move(key), value});
    return VOLERY_OK;
  } catch (const std::exception&) {  // nothing may be thrown through a plugin's C frames
    return VOLERY_FAILED;
  }
}

}  // namespace volery::plugin
