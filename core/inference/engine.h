#pragma once
// SlotEngine: data::Engine over the decode slots of one native::Model, by continuous batching. One thread
// owns it and calls everything but Prepare and Cancel; it starts no threads of its own (LibTorch's are used
// inside a step).
//
//   VOLERY_ASSIGN_OR_RETURN(auto engine, SlotEngine::Create(model, options));
//   VOLERY_ASSIGN_OR_RETURN(auto prepared, engine->Prepare(version));
//   VOLERY_RETURN_IF_ERROR(engine->Update(prepared, data::OnUpdate::kKeep));
//   VOLERY_RETURN_IF_ERROR(engine->Submit(request).status());
//   while (!engine->idle()) { VOLERY_ASSIGN_OR_RETURN(auto finished, engine->Step()); ... }
//
// How it works: a sequence is a list of tokens and a slot that has read a prefix of it; a step reads what is
// unread and, where everything has been read, samples from the last row. So decoding, prefill in chunks,
// reading again after an update and extending are one operation. What happens is a function of the calls
// alone, never of time.

#include <c10/core/ScalarType.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/data/engine.h"
#include "core/inference/sampler.h"
#include "volery/native/model.h"

namespace volery::inference {

struct EngineOptions {
  int64_t vocabulary = 0;  // size of the tokenizer: higher ids are never sampled; 0: the model's rows
  c10::ScalarType dtype = c10::ScalarType::Float;  // of prepared weights and decode state
  int64_t max_slots = 64;
  int64_t state_bytes =
      0;  // budget of decode state, each slot reserved at its longest; 0: max_slots alone bounds
  int64_t context = 0;           // 0: the model's
  int64_t prefill_tokens = 512;  // prompt (or reread) tokens a step, over all slots
  int64_t logits_rows = 64;      // rows of logits that stand in memory at once
};

class SlotEngine : public data::Engine {
 public:
  // `model` may be shared with a trainer (its sampling functions are called here only). Errors: options out
  // of range.
  static StatusOr<std::unique_ptr<SlotEngine>> Create(std::shared_ptr<const native::Model> model,
                                                      const EngineOptions& options);
  ~SlotEngine() override;

  StatusOr<data::PreparedVersionPtr> Prepare(data::WeightVersionPtr version) override;
  StatusOr<std::vector<data::SequenceId>> Submit(const data::SampleRequest& request) override;
  Status Extend(data::SequenceId id, const std::vector<int32_t>& inserted,
                const data::SamplingParams& params) override;
  StatusOr<data::SequenceId> Fork(data::SequenceId id, int32_t sample) override;
  void Cancel(data::SequenceId id) override;
  Status Keep(data::SequenceId id) override;
  void Release(data::SequenceId id) override;
  // The first call gives the engine its weights; Step fails before it. InvalidArgument: a version prepared
  // for another kind of engine, or kKeep where the model's state can't be read with other weights.
  Status Update(data::PreparedVersionPtr version, data::OnUpdate on_update) override;
  VersionId version() const override;  // VersionId(-1) before the first Update
  StatusOr<std::vector<data::FinishedSequence>> Step() override;
  bool idle() const override;
  data::EngineStats stats() const override;
  const native::StateSpec& state_spec() const { return spec_; }

 private:
  struct Prepared;
  struct Request;
  struct Sequence;
  struct Reading;
  struct Plan;

  SlotEngine(std::shared_ptr<const native::Model> model, const EngineOptions& options);
  int64_t SlotBytes(int64_t tokens) const;
  bool Fits(int64_t bytes) const;
  void Reserve(int64_t bytes);
  void Unreserve(int64_t bytes);
  Status CheckRequest(const data::SampleRequest& request) const;
  Status CheckTokens(const std::vector<int32_t>& tokens, const char* what) const;

  void TakeCancelled(std::vector<data::FinishedSequence>& finished);
  void CancelWaiting(Sequence& sequence);
  Status Admit();
  void OpenRequest(Request& request);
  bool HasLive() const;
  Plan MakePlan();
  void PlanReading(Plan& plan, Reading reading, int64_t& budget) const;
  Status ReadChunks(Plan& plan);
  void StartSamples(Plan& plan);
  void StartSamplesOf(Request& request, Plan& plan);
  Status SampleRows(Plan& plan, std::vector<data::FinishedSequence>& finished);
  Status Append(Sequence& sequence, const SampledToken& sampled);
  void Finish(Sequence& sequence, data::StopReason reason, std::vector<data::FinishedSequence>& finished);
  void Drop(Sequence& sequence);
  StatusOr<std::vector<data::FinishedSequence>> StepInside();

  const std::shared_ptr<const native::Model> model_;
  const EngineOptions options_;
  const native::StateSpec spec_;
  const std::unique_ptr<native::DecodeState> state_;
  std::shared_ptr<const Prepared> current_;
  std::map<int64_t, Sequence> sequences_;  // every sequence that isn't gone, by id
  std::deque<std::shared_ptr<Request>>
      requests_;  // with samples that haven't started, in the order of Submit
  int64_t next_id_ = 0;
  int64_t used_slots_ = 0, used_bytes_ = 0;  // reserved, whether or not the state holds them yet
  data::EngineStats counters_;
  std::mutex cancel_mutex_;
  std::vector<int64_t> cancelled_;  // guarded by cancel_mutex_
};

}  // namespace volery::inference
