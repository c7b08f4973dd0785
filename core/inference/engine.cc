#include "core/inference/engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "core/inference/engine_state.h"
#include "core/policy/version.h"
#include "core/tensor/guard.h"

namespace volery::inference {

using data::FinishedSequence;
using data::SequenceId;

StatusOr<std::unique_ptr<SlotEngine>> SlotEngine::Create(std::shared_ptr<const native::Model> model,
                                                         const EngineOptions& options) {
  VOLERY_CHECK(model != nullptr);
  EngineOptions checked = options;
  const native::ModelInfo& info = model->info();
  if (checked.vocabulary == 0) checked.vocabulary = info.vocabulary;
  if (checked.context == 0) checked.context = info.context;
  if (checked.vocabulary < 1 || checked.vocabulary > info.vocabulary) {
    return InvalidError("engine: the tokenizer has ", checked.vocabulary,
                        " tokens but the model has embeddings for ", info.vocabulary,
                        "; use the tokenizer that belongs to the model");
  }
  if (checked.context < 2)
    return InvalidError("engine: a context of ", checked.context, " tokens leaves nothing to sample");
  if (checked.max_slots < 1 || checked.prefill_tokens < 1 || checked.logits_rows < 1 ||
      checked.state_bytes < 0) {
    return InvalidError(
        "engine: slots, prefill tokens and logits rows must be at least 1, the state budget not negative");
  }
  // What the budget leaves to the slots themselves.
  if (checked.state_bytes > 0)
    checked.state_bytes = std::max<int64_t>(1, checked.state_bytes - model->state_spec(checked.dtype).shared_bytes);
  return tensor::Guard(Cat("model family ", info.family, ": making the decode state"),
                       [&] { return std::unique_ptr<SlotEngine>(new SlotEngine(model, checked)); });
}

SlotEngine::SlotEngine(std::shared_ptr<const native::Model> model, const EngineOptions& options)
    : model_(std::move(model)),
      options_(options),
      spec_(model_->state_spec(options.dtype)),
      state_(model_->MakeState(options.dtype)) {}

SlotEngine::~SlotEngine() = default;

int64_t SlotEngine::SlotBytes(int64_t tokens) const {
  return spec_.bytes_per_slot + tokens * spec_.bytes_per_token;
}

bool SlotEngine::Fits(int64_t bytes) const {
  return used_slots_ < options_.max_slots &&
         (options_.state_bytes == 0 || used_bytes_ + bytes <= options_.state_bytes);
}

void SlotEngine::Reserve(int64_t bytes) {
  ++used_slots_;
  used_bytes_ += bytes;
}

void SlotEngine::Unreserve(int64_t bytes) {
  --used_slots_;
  used_bytes_ -= bytes;
}

StatusOr<data::PreparedVersionPtr> SlotEngine::Prepare(data::WeightVersionPtr version) {
  VOLERY_CHECK(version != nullptr);
  VOLERY_ASSIGN_OR_RETURN(nn::NamedTensors named, policy::NamedTensorsOf(*version));
  return tensor::Guard(
      Cat("model family ", model_->info().family, ": preparing version ", version->id()), [&] {
        c10::InferenceMode inference;
        return data::PreparedVersionPtr(
            std::make_shared<const Prepared>(version->id(), model_->Prepare(named, version->id().value)));
      });
}

Status SlotEngine::CheckTokens(const std::vector<int32_t>& tokens, const char* what) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model_->info().vocabulary) {
      return InvalidError(what, ": token ", tokens[i], " at position ", i,
                          " is not in the model's vocabulary of ", model_->info().vocabulary);
    }
  }
  return OkStatus();
}

Status SlotEngine::CheckRequest(const data::SampleRequest& request) const {
  if (request.prompt.empty())
    return InvalidError("the prompt has no tokens; a model needs at least one to start from");
  if (request.samples < 1)
    return InvalidError("a request for ", request.samples, " samples; ask for at least 1");
  VOLERY_RETURN_IF_ERROR(CheckTokens(request.prompt, "prompt"));
  VOLERY_RETURN_IF_ERROR(CheckSamplingParams(request.params, options_.vocabulary));
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  if (length >= options_.context) {
    return InvalidError("the prompt has ", length, " tokens, which leaves no room in the context of ",
                        options_.context, "; shorten it or raise the context");
  }
  const int64_t bytes = SlotBytes(std::min(length + request.params.max_new_tokens, options_.context));
  if (options_.state_bytes > 0 && bytes > options_.state_bytes) {
    return InvalidError("one sequence of ", length, " + ", request.params.max_new_tokens, " tokens needs ",
                        bytes, " bytes of decode state (", spec_.holds, "), the budget for sequences is ",
                        options_.state_bytes,
                        spec_.shared_bytes > 0
                            ? Cat(" (", spec_.shared_bytes, " are for what is remembered, rollout.memo_share)")
                            : "",
                        "; raise the budget or lower max_new_tokens");
  }
  return OkStatus();
}

StatusOr<std::vector<SequenceId>> SlotEngine::Submit(const data::SampleRequest& request) {
  VOLERY_RETURN_IF_ERROR(CheckRequest(request));
  auto own = std::make_shared<Request>();
  own->prompt = request.prompt;
  const int64_t longest = std::min<int64_t>(
      static_cast<int64_t>(request.prompt.size()) + request.params.max_new_tokens, options_.context);
  own->longest = longest;
  own->bytes = SlotBytes(longest);
  std::vector<SequenceId> ids;
  for (int32_t i = 0; i < request.samples; ++i) {
    Sequence sequence;
    sequence.id = SequenceId{next_id_++};
    sequence.group = request.group;
    sequence.sample = request.sample_base + i;
    sequence.Use(request.params);
    sequence.request = own;
    sequence.tokens = request.prompt;
    sequence.spans.push_back({data::SpanOrigin::kPrompt, request.prompt, {}, {}, {}});
    sequence.bytes = own->bytes;
    sequence.longest = longest;
    sequence.temperature = request.params.temperature == 0 ? 1 : request.params.temperature;
    own->pending.push_back(sequence.id.value);
    ids.push_back(sequence.id);
    sequences_.emplace(sequence.id.value, std::move(sequence));
  }
  requests_.push_back(std::move(own));
  return ids;
}

Status SlotEngine::Extend(SequenceId id, const std::vector<int32_t>& inserted,
                          const data::SamplingParams& params) {
  const auto found = sequences_.find(id.value);
  if (found == sequences_.end() || found->second.live || found->second.request != nullptr) {
    return PreconditionError("sequence ", id.value,
                             " can't be extended: it is unknown, or not finished and kept");
  }
  Sequence& sequence = found->second;
  VOLERY_RETURN_IF_ERROR(CheckTokens(inserted, "inserted tokens"));
  VOLERY_RETURN_IF_ERROR(CheckSamplingParams(params, options_.vocabulary));
  if ((params.temperature == 0 ? 1 : params.temperature) != sequence.temperature) {
    return InvalidError("sequence ", id.value, " was sampled at temperature ", sequence.temperature,
                        "; a rollout has one temperature");
  }
  const int64_t length = static_cast<int64_t>(sequence.tokens.size() + inserted.size());
  if (length >= options_.context) {
    return InvalidError("sequence ", id.value, " would have ", length,
                        " tokens, which leaves no room in the context of ", options_.context);
  }
  const int64_t longest = std::min(length + params.max_new_tokens, options_.context);
  const int64_t bytes = std::max(sequence.bytes, SlotBytes(longest));
  if (options_.state_bytes > 0 && used_bytes_ - sequence.bytes + bytes > options_.state_bytes) {
    return ResourceError(
        "extending sequence ", id.value, " to ", longest, " tokens needs ", bytes - sequence.bytes,
        " more bytes of decode state than the budget has left; finish or release others first");
  }
  used_bytes_ += bytes - sequence.bytes;
  sequence.bytes = bytes;
  sequence.longest = longest;
  sequence.Use(params);
  sequence.tokens.insert(sequence.tokens.end(), inserted.begin(), inserted.end());
  if (!inserted.empty()) sequence.spans.push_back({data::SpanOrigin::kInserted, inserted, {}, {}, {}});
  sequence.live = true;
  sequence.keep = false;
  return OkStatus();
}

StatusOr<SequenceId> SlotEngine::Fork(SequenceId id, int32_t sample) {
  const auto found = sequences_.find(id.value);
  if (found == sequences_.end() || found->second.slot < 0) {
    return PreconditionError("sequence ", id.value,
                             " can't be forked: it is unknown, gone, or hasn't started");
  }
  const Sequence& source = found->second;
  if (!Fits(source.bytes)) return ResourceError("no decode slot is free for a fork of sequence ", id.value);
  Sequence copy = source;
  VOLERY_RETURN_IF_ERROR(tensor::Guard(Cat("model family ", model_->info().family, ": forking a slot"), [&] {
    c10::InferenceMode inference;
    copy.slot = state_->Fork(source.slot, source.longest);
  }));
  Reserve(copy.bytes);
  copy.id = SequenceId{next_id_++};
  copy.sample = sample;
  copy.keep = !copy.live;
  const SequenceId result = copy.id;
  sequences_.emplace(result.value, std::move(copy));
  return result;
}

void SlotEngine::Cancel(SequenceId id) {
  std::lock_guard lock(cancel_mutex_);
  cancelled_.push_back(id.value);
}

Status SlotEngine::Keep(SequenceId id) {
  const auto found = sequences_.find(id.value);
  if (found == sequences_.end()) {
    return NotFoundError("sequence ", id.value,
                         " is unknown or gone; ask for it to be kept before the step in which it finishes");
  }
  found->second.keep = true;
  return OkStatus();
}

void SlotEngine::Release(SequenceId id) {
  const auto found = sequences_.find(id.value);
  if (found == sequences_.end()) return;
  found->second.keep = false;
  if (!found->second.live && found->second.request == nullptr) Drop(found->second);
}

void SlotEngine::Drop(Sequence& sequence) {
  if (sequence.slot >= 0) {
    state_->Drop(sequence.slot);
    Unreserve(sequence.bytes);
  }
  sequences_.erase(sequence.id.value);
}

Status SlotEngine::Update(data::PreparedVersionPtr version, data::OnUpdate on_update) {
  if (version == nullptr) {
    current_ = nullptr;
    return OkStatus();
  }
  auto prepared = std::dynamic_pointer_cast<const Prepared>(version);
  if (prepared == nullptr) return InvalidError("the version was not prepared by an engine of this kind");
  const bool reread = on_update == data::OnUpdate::kReread;
  if (!reread && !spec_.readable_with_other_weights) {
    return InvalidError("model family ", model_->info().family, ": its decode state (", spec_.holds,
                        ") can't be read with other weights; set rollout.on_update = \"reread\"");
  }
  if (prepared == current_) return OkStatus();
  current_ = std::move(prepared);
  for (const auto& request : requests_) {
    if (request->slot < 0) continue;
    request->reread_until = std::max(request->reread_until, state_->Length(request->slot));
    request->row.reset();
    state_->Clear(request->slot);
  }
  if (!reread) return OkStatus();
  for (auto& [id, sequence] : sequences_) {
    if (sequence.slot < 0) continue;
    sequence.reread_until = std::max(sequence.reread_until, state_->Length(sequence.slot));
    state_->Clear(sequence.slot);
    sequence.oldest_state = VersionId(-1);
  }
  return OkStatus();
}

VersionId SlotEngine::version() const {
  return current_ ? current_->version : VersionId(-1);
}

bool SlotEngine::idle() const {
  return requests_.empty() && std::none_of(sequences_.begin(), sequences_.end(),
                                           [](const auto& entry) { return entry.second.live; });
}

data::EngineStats SlotEngine::stats() const {
  data::EngineStats result = counters_;
  for (const auto& [id, sequence] : sequences_) {
    result.live += sequence.live;
    result.waiting += sequence.request != nullptr;
  }
  result.slots = used_slots_;
  result.state_bytes = state_->bytes();
  return result;
}

}  // namespace volery::inference
