#include "core/data/packing.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

namespace volery::data {
namespace {

Rollout MakeRollout(std::vector<int32_t> prompt, std::vector<int32_t> sampled, int32_t sample = 0) {
  Rollout rollout;
  rollout.sample = sample;
  Span first, second;
  first.tokens = std::move(prompt);
  second.origin = SpanOrigin::kSampled;
  second.tokens = std::move(sampled);
  second.logprobs.assign(second.tokens.size(), -0.5f);
  if (!second.tokens.empty()) second.versions = {{0, VersionId(3), VersionId(2)}};
  rollout.spans = {first, second};
  return rollout;
}

TrainSequence MakeSequence(int64_t group, std::vector<int32_t> prompt, std::vector<int32_t> sampled) {
  return *MakeTrainSequence(MakeRollout(std::move(prompt), std::move(sampled)), group, 1.0);
}

std::vector<int32_t> All(size_t count) {
  std::vector<int32_t> out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

std::vector<TrainSequence> TwoGroups() {
  return {MakeSequence(0, {1, 2, 3}, {10, 11}), MakeSequence(0, {1, 2, 3}, {12}),
          MakeSequence(0, {1, 2, 3}, {13, 14, 15}), MakeSequence(1, {4, 5}, {20}),
          MakeSequence(1, {4, 5}, {21, 22})};
}

// Checks every promise of MicroBatch against the sequences: what a row may see, by following segments, must
// be exactly the tokens before its target, at positions 0, 1, 2 ...
void CheckAgainstSequences(const std::vector<MicroBatch>& batches,
                           const std::vector<TrainSequence>& sequences) {
  std::map<std::pair<int, int>, int> seen;
  for (const MicroBatch& batch : batches) {
    int64_t covered = 0;
    for (const PackedSegment& segment : batch.segments) {
      EXPECT_EQ(segment.begin, covered);
      EXPECT_LT(segment.begin, segment.end);
      covered = segment.end;
    }
    EXPECT_EQ(covered, static_cast<int64_t>(batch.tokens.size()));
    for (const PackedTarget& target : batch.targets) {
      const int64_t row = batch.rows[static_cast<size_t>(target.row)];
      size_t s = 0;
      while (batch.segments[s].end <= row) ++s;
      std::vector<int32_t> context;
      std::vector<int64_t> positions;
      auto append = [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) {
          context.push_back(batch.tokens[static_cast<size_t>(i)]);
          positions.push_back(batch.positions[static_cast<size_t>(i)]);
        }
      };
      if (const int64_t parent = batch.segments[s].parent; parent >= 0) {
        ASSERT_LT(parent, static_cast<int64_t>(s));
        append(batch.segments[static_cast<size_t>(parent)].begin,
               batch.segments[static_cast<size_t>(parent)].end);
      }
      append(batch.segments[s].begin, row + 1);
      const TrainSequence& sequence = sequences[static_cast<size_t>(target.sequence)];
      ASSERT_EQ(static_cast<int64_t>(context.size()), target.position);
      for (size_t i = 0; i < context.size(); ++i) {
        EXPECT_EQ(context[i], sequence.tokens[i]);
        EXPECT_EQ(positions[i], static_cast<int64_t>(i));
      }
      EXPECT_EQ(target.token, sequence.tokens[static_cast<size_t>(target.position)]);
      EXPECT_EQ(batch.temperatures[static_cast<size_t>(target.row)], sequence.temperature);
      ++seen[{target.sequence, target.position}];
    }
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    for (size_t p = 0; p < sequences[i].tokens.size(); ++p) {
      EXPECT_EQ((seen[{static_cast<int>(i), static_cast<int>(p)}]), sequences[i].loss_mask[p])
          << i << " " << p;
    }
  }
}

TEST(Packing, SharesAPromptOnceAndItsLastRowPredictsSeveralFirstTokens) {
  const auto sequences = TwoGroups();
  const auto batches = PackSequences(sequences, All(5), {100, true});
  ASSERT_EQ(batches.size(), 1u);
  const MicroBatch& batch = batches[0];
  // Prompt 1 2 3; then 10 | (nothing of 12) | 13 14; prompt 4 5; (nothing of 20) | 21. Last tokens predict
  // nothing.
  EXPECT_EQ(batch.tokens, (std::vector<int32_t>{1, 2, 3, 10, 13, 14, 4, 5, 21}));
  ASSERT_EQ(batch.segments.size(), 5u);
  EXPECT_EQ(batch.segments[1].parent, 0);
  EXPECT_EQ(batch.segments[2].parent, 0);
  EXPECT_EQ(batch.segments[4].parent, 3);
  int from_prompt = 0;
  for (const PackedTarget& target : batch.targets)
    from_prompt += batch.rows[static_cast<size_t>(target.row)] == 2;
  EXPECT_EQ(from_prompt, 3);
  CheckAgainstSequences(batches, sequences);
}

TEST(Packing, HoldsForEveryBudgetAndWithoutSharing) {
  auto sequences = TwoGroups();
  sequences.push_back(MakeSequence(2, {7, 7, 7, 7}, {1, 2, 3, 4, 5, 6, 7, 8}));
  sequences.push_back(MakeSequence(3, {7}, {}));
  for (bool share : {true, false}) {
    for (int64_t budget : {1, 4, 5, 6, 8, 9, 12, 1000}) {
      const auto batches = PackSequences(sequences, All(sequences.size()), {budget, share});
      CheckAgainstSequences(batches, sequences);
      for (const MicroBatch& batch : batches) {
        const size_t members = std::count_if(batch.segments.begin(), batch.segments.end(),
                                             [](const auto& s) { return s.parent < 0; });
        EXPECT_TRUE(static_cast<int64_t>(batch.tokens.size()) <= budget || members == 1) << budget;
      }
    }
  }
}

TEST(Packing, InsertedTokensAreReadButNotPredicted) {
  Rollout rollout = MakeRollout({1, 2}, {3, 4});
  Span inserted, again;
  inserted.origin = SpanOrigin::kInserted;
  inserted.tokens = {5, 6};
  again.origin = SpanOrigin::kSampled;
  again.tokens = {7};
  again.logprobs = {-1};
  rollout.spans.push_back(inserted);
  rollout.spans.push_back(again);
  const std::vector<TrainSequence> sequences = {*MakeTrainSequence(rollout, 0, 1)};
  EXPECT_EQ(sequences[0].loss_mask, (std::vector<uint8_t>{0, 0, 1, 1, 0, 0, 1}));
  const auto batches = PackSequences(sequences, All(1), {});
  CheckAgainstSequences(batches, sequences);
  EXPECT_EQ(batches[0].rows, (std::vector<int64_t>{1, 2, 5}));
}

TEST(Packing, DifferentTemperaturesDontShareRows) {
  auto sequences = TwoGroups();
  sequences[1].temperature = 0.5f;
  CheckAgainstSequences(PackSequences(sequences, All(5), {100, true}), sequences);
}

TEST(Packing, SharesAreEvenAndComplete) {
  std::vector<TrainSequence> sequences;
  for (int64_t g = 0; g < 8; ++g) {
    for (int i = 0; i < 4; ++i)
      sequences.push_back(MakeSequence(g, {1, 2, 3}, std::vector<int32_t>(static_cast<size_t>(3 + g), 5)));
  }
  const auto shares = ShareByTokens(sequences, All(sequences.size()), 2);
  std::vector<int> count(sequences.size());
  int64_t load[2] = {0, 0};
  for (size_t rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(std::is_sorted(shares[rank].begin(), shares[rank].end()));
    for (int32_t index : shares[rank]) {
      ++count[static_cast<size_t>(index)];
      load[rank] += sequences[static_cast<size_t>(index)].length();
    }
  }
  EXPECT_EQ(count, std::vector<int>(sequences.size(), 1));
  EXPECT_LT(std::abs(load[0] - load[1]), 60);
}

TEST(Packing, FewGroupsAreSharedBySequences) {
  const auto sequences = TwoGroups();
  const auto shares = ShareByTokens(sequences, All(5), 3);
  for (const auto& share : shares) EXPECT_FALSE(share.empty());
}

TEST(Packing, SplitsBetweenGroupsWhereThereAreEnough) {
  const auto sequences = TwoGroups();
  const auto two = SplitForOptimiserSteps(sequences, 2);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0], (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(two[1], (std::vector<int32_t>{3, 4}));
  const auto four = SplitForOptimiserSteps(sequences, 4);
  ASSERT_EQ(four.size(), 4u);
  size_t total = 0;
  for (const auto& part : four) total += part.size();
  EXPECT_EQ(total, 5u);
  EXPECT_EQ(SplitForOptimiserSteps(sequences, 50).size(), 5u);
}

TEST(TrainSequence, RefusesWhatDoesNotFit) {
  Rollout short_logprobs = MakeRollout({1}, {2, 3});
  short_logprobs.spans[1].logprobs.pop_back();
  const auto status = MakeTrainSequence(short_logprobs, 0, 1).status();
  EXPECT_EQ(Message(status), "span 1 has 2 tokens but 1 log-probs");
  EXPECT_FALSE(MakeTrainSequence(Rollout(), 0, 1).ok());
  EXPECT_FALSE(MakeTrainSequence(MakeRollout({}, {2}), 0, 1).ok());
  Rollout marks = MakeRollout({1}, {2, 3});
  marks.spans[1].versions = {{1, VersionId(0), VersionId(0)}};
  EXPECT_FALSE(MakeTrainSequence(marks, 0, 1).ok());
  Rollout cold = MakeRollout({1}, {2});
  cold.temperature = -1;
  EXPECT_FALSE(MakeTrainSequence(cold, 0, 1).ok());
}

TEST(TrainSequence, NamesStepGroupAndSample) {
  TrainBatch batch;
  batch.step = StepId(4);
  Group group;
  group.id = GroupId::Make(4, 0, 2);
  group.rollouts = {MakeRollout({1}, {2}), MakeRollout({}, {2}, 1)};
  batch.groups = {group};
  EXPECT_NE(Message(MakeTrainSequences(batch).status()).find("advantages"), std::string::npos);
  batch.groups[0].advantages = {1, -1};
  EXPECT_EQ(Message(MakeTrainSequences(batch).status()).rfind("step 4, group 2, sample 1: ", 0), 0u);
}

TEST(Rollout, ReadsItsSpans) {
  Rollout rollout = MakeRollout({1, 2}, {3, 4, 5});
  rollout.spans[1].versions = {{0, VersionId(6), VersionId(6)}, {2, VersionId(7), VersionId(5)}};
  EXPECT_EQ(rollout.PromptLength(), 2);
  EXPECT_EQ(rollout.Length(), 5);
  EXPECT_EQ(rollout.SampledLength(), 3);
  EXPECT_EQ(rollout.OldestVersion(), VersionId(5));
  EXPECT_EQ(rollout.Tokens(), (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(rollout.Versions(), (std::vector<int64_t>{-1, -1, 6, 6, 7}));
  EXPECT_EQ(rollout.Logprobs(), (std::vector<float>{0, 0, -0.5f, -0.5f, -0.5f}));
  EXPECT_EQ(rollout.LossMask(), (std::vector<uint8_t>{0, 0, 1, 1, 1}));
  EXPECT_EQ(Rollout().OldestVersion(), VersionId(-1));
  EXPECT_STREQ(StopReasonName(StopReason::kLength), "length");
  EXPECT_STREQ(RewardStatusName(RewardStatus::kTimeout), "timeout");
}

}  // namespace
}  // namespace volery::data
