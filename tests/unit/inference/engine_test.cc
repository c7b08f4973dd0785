#include "core/inference/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "core/inference/generate.h"
#include "core/inference/scoring.h"
#include "tests/unit/inference/fake_model.h"

namespace volery::inference {
namespace {

using data::FinishedSequence;
using data::OnUpdate;
using data::Rollout;
using data::SampleRequest;
using data::SequenceId;
using data::SpanOrigin;
using data::StopReason;
using test::FakeModel;
using test::FakeVersion;
using testing::HasSubstr;

struct Rig {
  explicit Rig(EngineOptions options = {}, std::shared_ptr<FakeModel> own = std::make_shared<FakeModel>())
      : model(std::move(own)) {
    StatusOr<std::unique_ptr<SlotEngine>> made = SlotEngine::Create(model, options);
    EXPECT_TRUE(made.ok()) << made.status();
    engine = std::move(made).value();
    Update(0);
  }
  void Update(int64_t version, OnUpdate on_update = OnUpdate::kKeep) {
    const auto prepared = engine->Prepare(FakeVersion(*model, version));
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    const Status status = engine->Update(*prepared, on_update);
    ASSERT_TRUE(status.ok()) << status;
  }
  std::vector<SequenceId> Submit(const SampleRequest& request) {
    const auto ids = engine->Submit(request);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.ok() ? *ids : std::vector<SequenceId>();
  }
  std::vector<FinishedSequence> Step() {
    auto finished = engine->Step();
    EXPECT_TRUE(finished.ok()) << finished.status();
    return finished.ok() ? *finished : std::vector<FinishedSequence>();
  }
  std::vector<FinishedSequence> Run() {
    std::vector<FinishedSequence> all;
    for (int step = 0; !engine->idle(); ++step) {
      EXPECT_LT(step, 5000) << "the engine makes no progress";
      if (step >= 5000) break;
      for (FinishedSequence& f : Step()) all.push_back(std::move(f));
    }
    return all;
  }
  std::shared_ptr<FakeModel> model;
  std::unique_ptr<SlotEngine> engine;
};

SampleRequest Request(int index, int samples, std::vector<int32_t> prompt, int32_t max_new,
                      std::vector<int32_t> stops = {}) {
  SampleRequest request;
  request.group = GroupId::Make(3, 0, index);
  request.samples = samples;
  request.prompt = std::move(prompt);
  request.params.max_new_tokens = max_new;
  request.params.seed = 17;
  request.params.stop_ids = std::move(stops);
  return request;
}

// What one sample must be, computed alone: reads everything with `version_at(position)` from the start for
// each token.
std::vector<int32_t> Reference(const FakeModel& model, const SampleRequest& request, int32_t sample,
                               const std::function<int64_t(int64_t)>& version_at) {
  std::vector<int32_t> tokens = request.prompt;
  for (int32_t n = 0; n < request.params.max_new_tokens; ++n) {
    const int64_t position = static_cast<int64_t>(tokens.size());
    const auto weights = model.Prepare(FakeVersion(model, version_at(position))->named(), 0);
    test::FakeLog log;
    test::FakeState state(log, model.info().width);
    const int64_t slot = state.Allocate(0);
    const native::Chunk chunk{slot, tokens, position - 1, 0};
    const at::Tensor logits = model.Logits(*weights, model.Advance(*weights, state, {&chunk, 1}));
    const SampleRow row{logits.const_data_ptr<float>(),
                        &request.params,
                        {request.params.seed, request.group, sample, position}};
    SampledToken token;
    SampleTokens({&row, 1}, model.info().vocabulary, {&token, 1});
    tokens.push_back(token.token);
    if (std::count(request.params.stop_ids.begin(), request.params.stop_ids.end(), token.token)) break;
  }
  return tokens;
}

std::map<std::pair<uint64_t, int32_t>, Rollout> ByKey(const std::vector<FinishedSequence>& finished) {
  std::map<std::pair<uint64_t, int32_t>, Rollout> result;
  for (const FinishedSequence& f : finished)
    EXPECT_TRUE(result.emplace(std::pair(f.rollout.group.bits, f.rollout.sample), f.rollout).second);
  return result;
}

std::vector<SampleRequest> ManyRequests() {
  std::vector<SampleRequest> requests;
  for (int i = 0; i < 7; ++i) {
    std::vector<int32_t> prompt;
    for (int t = 0; t < 1 + 5 * (i % 4); ++t) prompt.push_back((7 * i + 3 * t) % 40);
    requests.push_back(Request(i, 1 + i % 4, prompt, 3 + 2 * i, {5, 6}));
  }
  return requests;
}

TEST(Engine, EqualsSamplingAloneForEveryBudgetAndChunkSize) {
  const std::vector<SampleRequest> requests = ManyRequests();
  for (int64_t slots : {1, 2, 3, 64}) {
    for (int64_t prefill : {1, 3, 512}) {
      for (int64_t logits_rows : {1, 64}) {
        Rig rig({.max_slots = slots, .prefill_tokens = prefill, .logits_rows = logits_rows});
        for (const SampleRequest& request : requests) rig.Submit(request);
        const auto rollouts = ByKey(rig.Run());
        for (const auto& step : rig.model->log->steps) {
          int64_t prefilled = 0;
          for (int64_t count : step) prefilled += count > 1 ? count : 0;
          EXPECT_LE(prefilled, prefill);
        }
        for (const SampleRequest& request : requests) {
          for (int32_t k = 0; k < request.samples; ++k) {
            const auto found = rollouts.find({request.group.bits, k});
            ASSERT_NE(found, rollouts.end());
            ASSERT_EQ(found->second.Tokens(), Reference(*rig.model, request, k, [](int64_t) { return 0; }))
                << slots << " " << prefill;
          }
        }
        EXPECT_LE(rig.model->log->most_slots, slots);
        EXPECT_EQ(rig.model->log->live_slots, 0);
        EXPECT_EQ(rig.engine->stats().slots, 0);
      }
    }
  }
}

TEST(Engine, ReadsAPromptOnceAndForks) {
  Rig rig;
  rig.Submit(Request(0, 8, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 4));
  const auto finished = rig.Run();
  ASSERT_EQ(finished.size(), 8u);
  EXPECT_EQ(rig.model->log->forks, 7);  // the eighth takes the prompt's slot
  EXPECT_EQ(rig.model->log->most_slots, 8);
  EXPECT_EQ(rig.model->log->tokens_read, 10 + 8 * 3);  // a last token is never read
  EXPECT_EQ(rig.engine->stats().prompt_tokens, 10);
  EXPECT_EQ(rig.engine->stats().decoded_tokens, 32);
  EXPECT_EQ(rig.engine->stats().decode_steps, 4);
}

TEST(Engine, RolloutsHaveTwoSpansWithLogprobsAndMarks) {
  Rig rig;
  SampleRequest request = Request(2, 1, {1, 2, 3}, 6);
  request.sample_base = 5;
  rig.Submit(request);
  const auto finished = rig.Run();
  ASSERT_EQ(finished.size(), 1u);
  const Rollout& r = finished[0].rollout;
  EXPECT_EQ(r.group, request.group);
  EXPECT_EQ(r.sample, 5);
  EXPECT_EQ(r.stop, StopReason::kLength);
  ASSERT_EQ(r.spans.size(), 2u);
  EXPECT_EQ(r.spans[0].origin, SpanOrigin::kPrompt);
  EXPECT_EQ(r.spans[0].tokens, request.prompt);
  EXPECT_EQ(r.spans[1].origin, SpanOrigin::kSampled);
  EXPECT_EQ(r.spans[1].tokens.size(), 6u);
  ASSERT_EQ(r.spans[1].versions.size(), 1u);
  EXPECT_EQ(r.spans[1].versions[0].first, 0);
  EXPECT_EQ(r.spans[1].versions[0].version, VersionId(0));
  EXPECT_EQ(r.spans[1].versions[0].oldest_state, VersionId(0));
  // Behaviour log-probs are those of the training path.
  rig.model->Bind(FakeVersion(*rig.model, 0)->named());
  const auto scores = ScoreTokens(*rig.model, {r.Tokens()}, {});
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(r.spans[1].logprobs[i], (*scores)[0].logprobs[i + 2], 1e-5);
}

TEST(Engine, AStopTokenEndsTheRolloutAndBelongsToIt) {
  Rig rig;
  std::vector<int32_t> stops;
  for (int32_t id = 0; id < 40; id += 2) stops.push_back(id);
  rig.Submit(Request(0, 6, {1}, 40, stops));
  int stopped = 0;
  for (const FinishedSequence& f : rig.Run()) {
    const std::vector<int32_t>& tokens = f.rollout.spans[1].tokens;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) EXPECT_EQ(tokens[i] % 2, 1);
    stopped += f.rollout.stop == StopReason::kStop;
    EXPECT_EQ(tokens.back() % 2, 0);
  }
  EXPECT_EQ(stopped, 6);
}

TEST(Engine, TheContextBoundsTheLength) {
  Rig rig({.context = 10});
  rig.Submit(Request(0, 1, {1, 2, 3, 4, 5, 6, 7}, 100));
  const auto finished = rig.Run();
  EXPECT_EQ(finished[0].rollout.stop, StopReason::kLength);
  EXPECT_EQ(finished[0].rollout.Length(), 10);
}

TEST(Engine, AFinishedSlotIsRefilledAtTheNextStepInTheOrderOfSubmit) {
  Rig rig({.max_slots = 2});
  rig.Submit(Request(0, 1, {1}, 2));
  rig.Submit(Request(1, 1, {2}, 4));
  rig.Submit(Request(2, 1, {3}, 1));
  rig.Submit(Request(3, 1, {4}, 1));
  EXPECT_EQ(rig.Step().size(), 0u);
  EXPECT_EQ(rig.engine->stats().live, 2);
  EXPECT_EQ(rig.engine->stats().waiting, 2);
  EXPECT_EQ(rig.Step()[0].rollout.group.index(), 0);
  EXPECT_EQ(rig.Step()[0].rollout.group.index(), 2);
  const auto last = rig.Step();
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0].rollout.group.index(), 1);  // in the order of (group, sample)
  EXPECT_EQ(last[1].rollout.group.index(), 3);
  EXPECT_TRUE(rig.engine->idle());
}

TEST(Engine, SlotsAreBudgetedByBytes) {
  // A slot of n tokens costs 24 + 10 n bytes: 24 + 10 * (2 + 8) = 124.
  Rig rig({.max_slots = 64, .state_bytes = 124 * 3 + 50});
  rig.Submit(Request(0, 10, {1, 2}, 8));
  rig.Run();
  EXPECT_EQ(rig.model->log->most_slots, 3);
  const auto refused = rig.engine->Submit(Request(1, 1, {1, 2}, 60));
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(refused.status()), HasSubstr("budget for sequences is 422"));
}

TEST(Engine, WhatAllSlotsShareIsAPartOfTheBudget) {
  const auto model = std::make_shared<FakeModel>();
  model->shared_bytes = 124;
  Rig rig({.max_slots = 64, .state_bytes = 124 * 3 + 50}, model);
  rig.Submit(Request(0, 10, {1, 2}, 8));
  rig.Run();
  EXPECT_EQ(rig.model->log->most_slots, 2);
  EXPECT_THAT(Message(rig.engine->Submit(Request(1, 1, {1, 2}, 60)).status()),
              HasSubstr("budget for sequences is 298 (124 are for what is remembered, rollout.memo_share)"));
}

TEST(Engine, KeepGoesOnWithTheOldStateAndMarksIt) {
  Rig rig;
  rig.Submit(Request(0, 1, {1, 2}, 6));
  for (int i = 0; i < 2; ++i) rig.Step();
  rig.Update(1);
  for (int i = 0; i < 2; ++i) rig.Step();
  rig.Update(2);
  const auto finished = rig.Run();
  const data::Span& span = finished[0].rollout.spans[1];
  ASSERT_EQ(span.versions.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(span.versions[i].first, 2 * i);
    EXPECT_EQ(span.versions[i].version, VersionId(i));
    EXPECT_EQ(span.versions[i].oldest_state, VersionId(0));
  }
  EXPECT_EQ(finished[0].rollout.OldestVersion(), VersionId(0));
  EXPECT_EQ(rig.engine->stats().reread_tokens, 0);
}

TEST(Engine, RereadReadsEverythingWithTheNewWeights) {
  for (int64_t prefill : {2, 512}) {
    Rig rig({.prefill_tokens = prefill});
    const SampleRequest request = Request(0, 3, {1, 2}, 6);
    rig.Submit(request);
    while (rig.engine->stats().decoded_tokens < 6) rig.Step();  // two tokens each
    rig.Update(4, OnUpdate::kReread);
    const auto finished = rig.Run();
    ASSERT_EQ(finished.size(), 3u);
    for (const FinishedSequence& f : finished) {
      const data::Span& span = f.rollout.spans[1];
      ASSERT_EQ(span.versions.size(), 2u);
      EXPECT_EQ(span.versions[1].first, 2);
      EXPECT_EQ(span.versions[1].version, VersionId(4));
      EXPECT_EQ(span.versions[1].oldest_state, VersionId(4));
      EXPECT_EQ(f.rollout.Tokens(), Reference(*rig.model, request, f.rollout.sample,
                                              [](int64_t position) { return position < 4 ? 0 : 4; }));
    }
    EXPECT_EQ(rig.engine->stats().reread_tokens, 3 * 3);
  }
}

TEST(Engine, APromptReadWithOldWeightsIsReadAgainForLaterSamples) {
  Rig rig({.max_slots = 2});
  const SampleRequest request = Request(0, 3, {1, 2, 3, 4}, 3);
  rig.Submit(request);
  rig.Step();  // the prompt and sample 0 hold the slots
  EXPECT_EQ(rig.model->log->tokens_read, 4);
  rig.Update(1);
  const auto finished = rig.Run();
  ASSERT_EQ(finished.size(), 3u);
  for (const FinishedSequence& f : finished) {
    const data::VersionMark& mark = f.rollout.spans[1].versions[0];
    EXPECT_EQ(mark.version, VersionId(f.rollout.sample == 0 ? 0 : 1));
    EXPECT_EQ(mark.oldest_state, mark.version);
    if (f.rollout.sample == 0) continue;
    EXPECT_EQ(f.rollout.Tokens(),
              Reference(*rig.model, request, f.rollout.sample, [](int64_t) { return 1; }));
  }
  EXPECT_EQ(rig.engine->stats().reread_tokens, 4);
}

TEST(Engine, AHalfReadPromptIsReadAgainToo) {
  Rig rig({.prefill_tokens = 3});
  const SampleRequest request = Request(0, 2, {1, 2, 3, 4, 5, 6, 7}, 2);
  rig.Submit(request);
  rig.Step();
  rig.Update(1);
  for (const FinishedSequence& f : rig.Run()) {
    EXPECT_EQ(f.rollout.OldestVersion(), VersionId(1));
    EXPECT_EQ(f.rollout.Tokens(),
              Reference(*rig.model, request, f.rollout.sample, [](int64_t) { return 1; }));
  }
}

TEST(Engine, AStateThatNeedsItsOwnWeightsRefusesKeep) {
  auto model = std::make_shared<FakeModel>();
  model->readable = false;
  auto engine = SlotEngine::Create(model, {});
  ASSERT_TRUE(engine.ok());
  const auto prepared = (*engine)->Prepare(FakeVersion(*model, 0));
  const Status refused = (*engine)->Update(*prepared, OnUpdate::kKeep);
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(refused), HasSubstr("on_update = \"reread\""));
  EXPECT_TRUE((*engine)->Update(*prepared, OnUpdate::kReread).ok());
}

TEST(Engine, CancelEndsAtTheNextStepLiveOrWaiting) {
  Rig rig({.max_slots = 2});
  const auto first = rig.Submit(Request(0, 2, {1}, 10));
  const auto second = rig.Submit(Request(1, 2, {1, 2}, 10));
  rig.Step();
  std::thread([&] {
    rig.engine->Cancel(first[0]);
    rig.engine->Cancel(second[1]);
    rig.engine->Cancel(SequenceId{12345});
  }).join();
  const auto finished = rig.Step();
  ASSERT_EQ(finished.size(), 2u);
  EXPECT_EQ(finished[0].id, first[0]);
  EXPECT_EQ(finished[0].rollout.stop, StopReason::kCancelled);
  EXPECT_EQ(finished[0].rollout.SampledLength(), 1);
  EXPECT_EQ(finished[1].id, second[1]);
  EXPECT_EQ(finished[1].rollout.SampledLength(), 0);
  EXPECT_EQ(rig.engine->stats().live, 2);  // the freed slot was refilled in the same step
  for (SequenceId id : {first[1], second[0]}) rig.engine->Cancel(id);
  EXPECT_EQ(rig.Step().size(), 2u);
  EXPECT_TRUE(rig.engine->idle());
  EXPECT_EQ(rig.model->log->live_slots, 0);
  EXPECT_EQ(rig.engine->stats().slots, 0);
}

TEST(Engine, CancellingWaitingSamplesGivesTheirReservationsBack) {
  Rig rig({.max_slots = 8, .prefill_tokens = 2});
  const auto ids = rig.Submit(Request(0, 6, {1, 2, 3, 4, 5, 6}, 10));
  rig.Step();  // the prompt is being read, six slots are reserved
  EXPECT_EQ(rig.engine->stats().slots, 6);
  for (int i = 1; i < 6; ++i) rig.engine->Cancel(ids[i]);
  EXPECT_EQ(rig.Step().size(), 5u);
  EXPECT_EQ(rig.engine->stats().slots, 1);
  rig.engine->Cancel(ids[0]);
  EXPECT_EQ(rig.Step().size(), 1u);
  EXPECT_EQ(rig.engine->stats().slots, 0);
  EXPECT_EQ(rig.model->log->live_slots, 0);
}

TEST(Engine, ExtendsAKeptSequence) {
  Rig rig;
  const SampleRequest request = Request(0, 1, {1, 2}, 3);
  const SequenceId id = rig.Submit(request)[0];
  ASSERT_TRUE(rig.engine->Keep(id).ok());
  const auto turn = rig.Run();
  EXPECT_EQ(rig.model->log->live_slots, 1);
  EXPECT_EQ(rig.engine->stats().slots, 1);
  data::SamplingParams params = request.params;
  params.max_new_tokens = 2;
  ASSERT_TRUE(rig.engine->Keep(id).ok());
  ASSERT_TRUE(rig.engine->Extend(id, {7, 8}, params).ok());
  EXPECT_EQ(rig.engine->Extend(id, {7}, params).code(), StatusCode::kFailedPrecondition);
  const int64_t read_before = rig.model->log->tokens_read;
  const auto finished = rig.Run();
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(rig.model->log->tokens_read - read_before,
            3 + 1);  // the unread sampled token, two inserted, then one sampled
  const Rollout& r = finished[0].rollout;
  ASSERT_EQ(r.spans.size(), 4u);
  EXPECT_EQ(r.spans[1].tokens, turn[0].rollout.spans[1].tokens);
  EXPECT_EQ(r.spans[2].origin, SpanOrigin::kInserted);
  EXPECT_EQ(r.spans[2].tokens, (std::vector<int32_t>{7, 8}));
  EXPECT_EQ(r.spans[3].tokens.size(), 2u);
  SampleRequest same = request;  // the second turn is what a prompt of all its tokens would give
  same.prompt = r.Tokens();
  same.prompt.resize(7);
  same.params.max_new_tokens = 2;
  EXPECT_EQ(r.Tokens(), Reference(*rig.model, same, 0, [](int64_t) { return 0; }));
  EXPECT_EQ(rig.model->log->live_slots, 0);  // Extend takes the mark of Keep away
  EXPECT_EQ(rig.engine->Extend(id, {1}, params).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(rig.engine->Keep(id).code(), StatusCode::kNotFound);
}

TEST(Engine, RereadReachesKeptSequences) {
  Rig rig;
  const SampleRequest request = Request(0, 1, {1, 2}, 3);
  const SequenceId id = rig.Submit(request)[0];
  ASSERT_TRUE(rig.engine->Keep(id).ok());
  rig.Run();
  rig.Update(2, OnUpdate::kReread);
  ASSERT_TRUE(rig.engine->Extend(id, {7}, request.params).ok());
  const auto finished = rig.Run();
  EXPECT_EQ(finished[0].rollout.spans[3].versions[0].oldest_state, VersionId(2));
}

TEST(Engine, ForksALiveSequence) {
  Rig rig({.max_slots = 2});
  SampleRequest request = Request(0, 1, {1, 2}, 8);
  const SequenceId id = rig.Submit(request)[0];
  EXPECT_EQ(rig.engine->Fork(id, 9).status().code(), StatusCode::kFailedPrecondition);  // has no state yet
  for (int i = 0; i < 3; ++i) rig.Step();
  const auto fork = rig.engine->Fork(id, 9);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(rig.engine->Fork(id, 10).status().code(), StatusCode::kResourceExhausted);
  const auto finished = rig.Run();
  ASSERT_EQ(finished.size(), 2u);
  EXPECT_EQ(finished[0].rollout.Tokens(), Reference(*rig.model, request, 0, [](int64_t) { return 0; }));
  std::vector<int32_t> expected = finished[0].rollout.Tokens();
  expected.resize(5);
  SampleRequest rest = request;
  rest.prompt = expected;
  rest.params.max_new_tokens = 5;
  EXPECT_EQ(finished[1].rollout.sample, 9);
  EXPECT_EQ(finished[1].rollout.Tokens(), Reference(*rig.model, rest, 9, [](int64_t) { return 0; }));
}

TEST(Engine, KeptSequencesThatHoldEverythingAreAnErrorNotAHang) {
  Rig rig({.max_slots = 1});
  const SequenceId id = rig.Submit(Request(0, 1, {1}, 1))[0];
  ASSERT_TRUE(rig.engine->Keep(id).ok());
  rig.Run();
  rig.Submit(Request(1, 1, {1}, 1));
  const auto stuck = rig.engine->Step();
  EXPECT_EQ(stuck.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(stuck.status()), HasSubstr("release them"));
  rig.engine->Release(id);
  EXPECT_EQ(rig.Run().size(), 1u);
}

TEST(Engine, RefusesBadRequests) {
  Rig rig({.vocabulary = 38, .context = 10});
  const auto message = [&](const SampleRequest& request) {
    const auto ids = rig.engine->Submit(request);
    EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument);
    return Message(ids.status());
  };
  EXPECT_THAT(message(Request(0, 1, {}, 1)), HasSubstr("no tokens"));
  EXPECT_THAT(message(Request(0, 0, {1}, 1)), HasSubstr("0 samples"));
  EXPECT_THAT(message(Request(0, 1, {1, 40}, 1)), HasSubstr("token 40 at position 1"));
  EXPECT_THAT(message(Request(0, 1, std::vector<int32_t>(10, 1), 1)), HasSubstr("context of 10"));
  EXPECT_THAT(message(Request(0, 1, {1}, 1, {38})), HasSubstr("stop id 38"));
  EXPECT_TRUE(rig.engine->idle());
  EXPECT_THAT(Message(SlotEngine::Create(rig.model, {.vocabulary = 41}).status()), HasSubstr("41 tokens"));
}

TEST(Engine, StepNeedsWeightsAndReportsFailuresOfTheModel) {
  auto model = std::make_shared<FakeModel>();
  auto engine = std::move(SlotEngine::Create(model, {})).value();
  EXPECT_EQ(engine->version(), VersionId(-1));
  EXPECT_TRUE(engine->Step().ok());
  ASSERT_TRUE(engine->Submit(Request(0, 1, {1}, 1)).ok());
  EXPECT_EQ(engine->Step().status().code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(engine->Update(*engine->Prepare(FakeVersion(*model, 3)), OnUpdate::kKeep).ok());
  EXPECT_EQ(engine->version(), VersionId(3));
  model->fail_next = true;
  EXPECT_THAT(Message(engine->Step().status()), HasSubstr("planned failure"));

  native::NamedTensors broken = test::FakeTensors(*model, 1);
  broken["head"].fill_(std::nanf(""));
  Rig rig;
  ASSERT_TRUE(
      rig.engine->Update(*rig.engine->Prepare(policy::MakeVersion(VersionId(9), broken)), OnUpdate::kKeep)
          .ok());
  rig.Submit(Request(0, 1, {1}, 1));
  EXPECT_THAT(Message(rig.engine->Step().status()), HasSubstr("not finite (weights version 9)"));
  broken.erase("head");
  EXPECT_FALSE(rig.engine->Prepare(policy::MakeVersion(VersionId(9), broken)).ok());
}

TEST(Generate, KeepsTheOrderOfRequestsAndCanBeCancelled) {
  Rig rig({.max_slots = 3});
  const std::vector<SampleRequest> requests = ManyRequests();
  int64_t calls = 0;
  const auto all = Generate(*rig.engine, requests,
                            {.progress = [&](const GenerateProgress& p) { return ++calls, p.total == 16; }});
  ASSERT_TRUE(all.ok()) << all.status();
  for (size_t r = 0; r < requests.size(); ++r) {
    ASSERT_EQ((*all)[r].size(), static_cast<size_t>(requests[r].samples));
    for (size_t k = 0; k < (*all)[r].size(); ++k) {
      EXPECT_EQ((*all)[r][k].Tokens(),
                Reference(*rig.model, requests[r], static_cast<int32_t>(k), [](int64_t) { return 0; }));
    }
  }
  EXPECT_GT(calls, 3);
  const auto cut =
      Generate(*rig.engine, requests, {.progress = [](const GenerateProgress& p) { return p.finished < 2; }});
  ASSERT_TRUE(cut.ok());
  int cancelled = 0;
  for (const auto& group : *cut) {
    for (const Rollout& r : group) cancelled += r.stop == StopReason::kCancelled;
  }
  EXPECT_GT(cancelled, 5);
  std::vector<SampleRequest> bad = {requests[0], Request(9, 1, {}, 1)};
  EXPECT_THAT(Message(Generate(*rig.engine, bad).status()), HasSubstr("request 1"));
  EXPECT_TRUE(rig.engine->idle());
}

TEST(Scoring, SlicesAndBatchesDoNotMatter) {
  FakeModel model;
  model.Bind(FakeVersion(model, 0)->named());
  const std::vector<std::vector<int32_t>> sequences = {{1, 2, 3, 4, 5}, {9}, {}, {7, 7, 7}, {3, 2, 1, 0}};
  const auto whole = ScoreTokens(model, sequences, {.logits = true});
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto pieces = ScoreTokens(model, sequences, {.batch_tokens = 4, .slice_rows = 1});
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<float>& a = (*whole)[i].logprobs;
    ASSERT_EQ(a.size(), std::max<size_t>(sequences[i].size(), 1) - 1);
    ASSERT_EQ((*pieces)[i].logprobs.size(), a.size());
    for (size_t t = 0; t < a.size(); ++t) EXPECT_NEAR((*pieces)[i].logprobs[t], a[t], 1e-6);
    if (sequences[i].empty()) continue;
    const at::Tensor expected = at::log_softmax((*whole)[i].logits.to(at::kDouble), 1);
    for (size_t t = 0; t < a.size(); ++t)
      EXPECT_NEAR(a[t], expected[t][sequences[i][t + 1]].item<double>(), 2e-6);
  }
  EXPECT_FALSE((*pieces)[0].logits.defined());
  EXPECT_THAT(Message(ScoreTokens(model, {{1, 99}}, {}).status()), HasSubstr("token 99"));
  EXPECT_THAT(Message(ScoreTokens(model, {std::vector<int32_t>(65, 1)}, {}).status()),
              HasSubstr("context is 64"));
}

}  // namespace
}  // namespace volery::inference
