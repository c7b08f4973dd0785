// One step of SlotEngine: cancel, admit, read, start samples, sample, finish.

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/inference/engine.h"
#include "core/inference/engine_state.h"
#include "core/tensor/guard.h"

namespace volery::inference {

using data::FinishedSequence;

StatusOr<std::vector<FinishedSequence>> SlotEngine::Step() {
  return tensor::Guard(Cat("sampling with version ", version()), [this] {
    c10::InferenceMode inference;
    return StepInside();
  });
}

StatusOr<std::vector<FinishedSequence>> SlotEngine::StepInside() {
  std::vector<FinishedSequence> finished;
  TakeCancelled(finished);
  if (!idle()) {
    if (current_ == nullptr) return PreconditionError("the engine has no weights yet; call Update first");
    VOLERY_RETURN_IF_ERROR(Admit());
    Plan plan = MakePlan();
    VOLERY_RETURN_IF_ERROR(ReadChunks(plan));
    StartSamples(plan);
    VOLERY_RETURN_IF_ERROR(SampleRows(plan, finished));
    ++counters_.decode_steps;
  }
  std::sort(finished.begin(), finished.end(), [](const FinishedSequence& a, const FinishedSequence& b) {
    return std::tie(a.rollout.group, a.rollout.sample, a.id) <
           std::tie(b.rollout.group, b.rollout.sample, b.id);
  });
  return finished;
}

void SlotEngine::TakeCancelled(std::vector<FinishedSequence>& finished) {
  std::vector<int64_t> ids;
  {
    std::lock_guard lock(cancel_mutex_);
    ids.swap(cancelled_);
  }
  std::sort(ids.begin(), ids.end());
  for (int64_t id : ids) {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) continue;
    Sequence& sequence = found->second;
    if (sequence.request != nullptr) {
      CancelWaiting(sequence);
    } else if (!sequence.live) {
      continue;
    }
    Finish(sequence, data::StopReason::kCancelled, finished);
  }
}

void SlotEngine::CancelWaiting(Sequence& sequence) {
  Request& request = *sequence.request;
  std::erase(request.pending, sequence.id.value);
  const int64_t forks = std::max<int64_t>(0, static_cast<int64_t>(request.pending.size()) - 1);
  for (; request.reserved > forks; --request.reserved) Unreserve(request.bytes);
  if (request.pending.empty()) {
    if (request.slot >= 0) {
      state_->Drop(request.slot);
      Unreserve(request.bytes);
    }
    std::erase(requests_, sequence.request);
  }
  sequence.request.reset();
  sequence.keep = false;
}

bool SlotEngine::HasLive() const {
  return std::any_of(sequences_.begin(), sequences_.end(),
                     [](const auto& entry) { return entry.second.live; });
}

void SlotEngine::OpenRequest(Request& request) {
  request.slot = state_->Allocate(request.longest);
  Reserve(request.bytes);
}

// In the order of Submit: a request's slots are reserved before any later request gets one.
Status SlotEngine::Admit() {
  const bool live = HasLive();
  for (const auto& request : requests_) {
    const bool first = request == requests_.front();
    if (request->slot < 0) {
      if (!Fits(request->bytes)) {
        if (first && !live) {
          return ResourceError("requests wait, but kept sequences hold ", used_slots_, " of ",
                               options_.max_slots, " slots and ", used_bytes_,
                               " bytes of decode state; release them");
        }
        break;
      }
      OpenRequest(*request);
    }
    const int64_t forks = static_cast<int64_t>(request->pending.size()) - 1;
    for (; request->reserved < forks && Fits(request->bytes); ++request->reserved) Reserve(request->bytes);
    request->give_prompt_slot = first && !live && forks > 0 && request->reserved == 0;
    if (request->reserved < forks) break;
  }
  return OkStatus();
}

// Single tokens first, then longer pieces in the order of ids and requests while the step's budget lasts.
SlotEngine::Plan SlotEngine::MakePlan() {
  Plan plan;
  int64_t budget = options_.prefill_tokens;
  const auto reading_of = [this](Sequence& sequence) {
    return Reading{&sequence,
                   nullptr,
                   sequence.slot,
                   &sequence.tokens,
                   state_->Length(sequence.slot),
                   0,
                   sequence.reread_until};
  };
  for (auto& [id, sequence] : sequences_) {
    if (sequence.live) PlanReading(plan, reading_of(sequence), budget);
  }
  for (const auto& request : requests_) {
    if (request->slot < 0 || request->row.defined()) continue;
    PlanReading(plan,
                {nullptr, request.get(), request->slot, &request->prompt, state_->Length(request->slot), 0,
                 request->reread_until},
                budget);
  }
  return plan;
}

void SlotEngine::PlanReading(Plan& plan, Reading reading, int64_t& budget) const {
  const int64_t unread = static_cast<int64_t>(reading.tokens->size()) - reading.begin;
  const int64_t count = unread == 1 ? 1 : std::min(unread, budget);
  if (count == 0) return;
  if (unread > 1) budget -= count;
  reading.end = reading.begin + count;
  plan.readings.push_back(reading);
}

Status SlotEngine::ReadChunks(Plan& plan) {
  if (plan.readings.empty()) return OkStatus();
  std::vector<native::Chunk> chunks;
  int64_t expected = 0;
  for (const Reading& reading : plan.readings) {
    const int64_t count = reading.end - reading.begin;
    const std::span<const int32_t> tokens(reading.tokens->data() + reading.begin, static_cast<size_t>(count));
    chunks.push_back({reading.slot, tokens, reading.last() ? count - 1 : count,
                      static_cast<int64_t>(reading.tokens->size()) - reading.end});
    expected += reading.last();
  }
  const at::Tensor hidden = model_->Advance(*current_->weights, *state_, chunks);
  if (expected > 0 && (hidden.dim() != 2 || hidden.size(0) != expected)) {
    return InternalError("model family ", model_->info().family, ": Advance must return ", expected,
                         " rows, it returned ", hidden.dim() == 0 ? 0 : hidden.size(0));
  }
  int64_t row = 0;
  for (const Reading& reading : plan.readings) {
    const int64_t reread = std::max<int64_t>(0, std::min(reading.end, reading.reread_until) - reading.begin);
    counters_.reread_tokens += reread;
    const bool decode = reading.sequence != nullptr && reading.end - reading.begin == 1;
    if (!decode) counters_.prompt_tokens += reading.end - reading.begin - reread;
    if (reading.sequence != nullptr) {
      VersionId& oldest = reading.sequence->oldest_state;
      oldest = oldest.value < 0 ? current_->version : std::min(oldest, current_->version);
    }
    if (!reading.last()) continue;
    at::Tensor last_row = hidden.narrow(0, row++, 1);
    if (reading.sequence != nullptr) {
      plan.samples.emplace_back(reading.sequence, static_cast<int64_t>(plan.rows.size()));
      plan.rows.push_back(std::move(last_row));
    } else {
      reading.request->row = last_row.clone();
    }
  }
  return OkStatus();
}

void SlotEngine::StartSamples(Plan& plan) {
  for (const auto& request : requests_) {
    if (request->row.defined()) StartSamplesOf(*request, plan);
  }
  std::erase_if(requests_, [](const auto& request) { return request->pending.empty(); });
}

void SlotEngine::StartSamplesOf(Request& request, Plan& plan) {
  const at::Tensor row = request.row;
  bool first = true;
  while (!request.pending.empty() && request.row.defined()) {
    const bool take_over = request.pending.size() == 1 || request.give_prompt_slot;
    if (!take_over && request.reserved == 0) break;
    Sequence& sequence = sequences_.at(request.pending.front());
    request.pending.pop_front();
    if (take_over) {
      sequence.slot = std::exchange(request.slot, -1);
      request.row.reset();
      request.reread_until = 0;
    } else {
      sequence.slot = state_->Fork(request.slot, sequence.longest);
      --request.reserved;
    }
    sequence.request.reset();
    sequence.live = true;
    sequence.oldest_state = current_->version;
    if (std::exchange(first, false)) plan.rows.push_back(row);
    plan.samples.emplace_back(&sequence, static_cast<int64_t>(plan.rows.size()) - 1);
  }
}

Status SlotEngine::SampleRows(Plan& plan, std::vector<FinishedSequence>& finished) {
  const int64_t rows = static_cast<int64_t>(plan.rows.size());
  size_t next = 0;
  for (int64_t begin = 0; begin < rows; begin += options_.logits_rows) {
    const int64_t end = std::min(rows, begin + options_.logits_rows);
    const at::Tensor hidden =
        at::cat(std::vector<at::Tensor>(plan.rows.begin() + begin, plan.rows.begin() + end));
    const at::Tensor logits =
        model_->Logits(*current_->weights, hidden).to(at::kCPU, at::kFloat).contiguous();
    if (logits.dim() != 2 || logits.size(0) != end - begin || logits.size(1) < options_.vocabulary) {
      return InternalError("model family ", model_->info().family, ": Logits of ", end - begin,
                           " rows has the shape ", Cat(logits.sizes()));
    }
    std::vector<SampleRow> sample_rows;
    const size_t first = next;
    for (; next < plan.samples.size() && plan.samples[next].second < end; ++next) {
      const auto& [sequence, row] = plan.samples[next];
      sample_rows.push_back({logits.const_data_ptr<float>() + (row - begin) * logits.size(1),
                             &sequence->params,
                             {sequence->params.seed, sequence->group, sequence->sample,
                              static_cast<int64_t>(sequence->tokens.size())}});
    }
    std::vector<SampledToken> sampled(sample_rows.size());
    SampleTokens(sample_rows, options_.vocabulary, sampled);
    for (size_t i = 0; i < sampled.size(); ++i)
      VOLERY_RETURN_IF_ERROR(Append(*plan.samples[first + i].first, sampled[i]));
  }
  counters_.decoded_tokens += static_cast<int64_t>(plan.samples.size());
  for (const auto& [sequence, row] : plan.samples) {
    const std::vector<int32_t>& stops = sequence->params.stop_ids;
    const bool by_text = sequence->stop_texts.Push(sequence->tokens.back()) != text::Stop::kNone;
    if (by_text || std::find(stops.begin(), stops.end(), sequence->tokens.back()) != stops.end()) {
      Finish(*sequence, data::StopReason::kStop, finished);
    } else if (static_cast<int64_t>(sequence->tokens.size()) >= sequence->longest) {
      Finish(*sequence, data::StopReason::kLength, finished);
    }
  }
  return OkStatus();
}

Status SlotEngine::Append(Sequence& sequence, const SampledToken& sampled) {
  if (sampled.token < 0) {
    return InternalError("the logits of group ", sequence.group.bits, " sample ", sequence.sample,
                         " at position ", sequence.tokens.size(), " are not finite (weights version ",
                         current_->version, "); the model has diverged or its file is damaged");
  }
  if (sequence.spans.back().origin != data::SpanOrigin::kSampled)
    sequence.spans.push_back({data::SpanOrigin::kSampled, {}, {}, {}, {}});
  data::Span& span = sequence.spans.back();
  const data::VersionMark mark{static_cast<int32_t>(span.tokens.size()), current_->version,
                               sequence.oldest_state};
  if (span.versions.empty() || span.versions.back().version != mark.version ||
      span.versions.back().oldest_state != mark.oldest_state) {
    span.versions.push_back(mark);
  }
  span.tokens.push_back(sampled.token);
  span.logprobs.push_back(sampled.logprob);
  sequence.tokens.push_back(sampled.token);
  return OkStatus();
}

void SlotEngine::Finish(Sequence& sequence, data::StopReason reason,
                        std::vector<FinishedSequence>& finished) {
  FinishedSequence result;
  result.id = sequence.id;
  result.rollout.group = sequence.group;
  result.rollout.sample = sequence.sample;
  result.rollout.spans = sequence.spans;
  result.rollout.stop = reason;
  result.rollout.temperature = sequence.temperature;
  finished.push_back(std::move(result));
  sequence.live = false;
  if (!sequence.keep) Drop(sequence);
}

}  // namespace volery::inference
