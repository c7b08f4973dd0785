#include "core/text/bpe_model.h"

#include <gtest/gtest.h>

#include <map>

#include "core/base/random.h"

namespace volery::text {
namespace {

BpeModelOptions Bytes() {
  BpeModelOptions options;
  for (int32_t byte = 0; byte < 256; ++byte) options.byte_ids[static_cast<size_t>(byte)] = byte;
  return options;
}

std::vector<int32_t> Encode(const BpeModel& model, std::string_view piece, BpeModel::Scratch* scratch) {
  std::vector<int32_t> ids;
  model.EncodePiece(piece, scratch, &ids);
  return ids;
}

// The definition, step by step: the lowest rank, leftmost on a tie, until nothing merges.
std::vector<int32_t> ByDefinition(const std::vector<BpeModel::Merge>& merges, std::string_view piece) {
  std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[{merges[i].left, merges[i].right}] = {i, merges[i].merged};
  std::vector<int32_t> ids;
  for (const char c : piece) ids.push_back(static_cast<uint8_t>(c));
  while (true) {
    size_t best = ids.size();
    std::pair<size_t, int32_t> found{merges.size(), -1};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merge = ranks.find({ids[i], ids[i + 1]});
      if (merge != ranks.end() && merge->second.first < found.first) {
        found = merge->second;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = found.second;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeModel, EqualsTheDefinitionForShortAndLongPieces) {
  base::RandomStream stream(11, base::RandomUse::kGenerator);
  for (int round = 0; round < 40; ++round) {
    std::vector<int32_t> known = {'a', 'b', 'c'};
    std::vector<BpeModel::Merge> merges;
    for (int i = 0; i < 30; ++i) {
      const int32_t left = known[stream.NextBelow(known.size())],
                    right = known[stream.NextBelow(known.size())];
      merges.push_back({left, right, 256 + i});
      known.push_back(256 + i);
    }
    const BpeModel model(Bytes(), merges, {});
    BpeModel::Scratch scratch;
    for (const size_t length : {1, 2, 7, 29, 30, 31, 63, 64, 65, 66, 200, 700}) {
      std::string piece;
      for (size_t i = 0; i < length; ++i) piece += static_cast<char>('a' + stream.NextBelow(3));
      const std::vector<int32_t> expected = ByDefinition(merges, piece);
      ASSERT_EQ(Encode(model, piece, &scratch), expected) << piece;
      ASSERT_EQ(Encode(model, piece, &scratch), expected) << "from the cache: " << piece;
    }
  }
}

// More pieces than the cache holds, again and again, of lengths around what an entry takes: whatever is
// thrown out or kept, a used scratch answers as a fresh one.
TEST(BpeModel, ACacheThatOverflowsChangesNoIds) {
  const std::vector<BpeModel::Merge> merges = {
      {'a', 'b', 256}, {256, 'a', 257}, {'b', 'b', 258}, {257, 258, 259}, {259, 259, 260}};
  const BpeModel model(Bytes(), merges, {});
  base::RandomStream stream(3, base::RandomUse::kGenerator);
  std::vector<std::string> pieces;
  for (int i = 0; i < 50'000; ++i) {
    std::string piece;
    for (size_t left = 1 + stream.NextBelow(34); left > 0; --left)
      piece += static_cast<char>('a' + stream.NextBelow(2));
    pieces.push_back(std::move(piece));
  }
  BpeModel::Scratch used;
  for (const std::string& piece : pieces) Encode(model, piece, &used);
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::vector<int32_t> ids = Encode(model, pieces[i], &used);
    if (i % 25 != 0) continue;
    ASSERT_EQ(ids, ByDefinition(merges, pieces[i])) << pieces[i];
  }
}

TEST(MergeTable, FindsWhatWasInsertedAndNothingElse) {
  base::RandomStream stream(7, base::RandomUse::kGenerator);
  for (const size_t count : {0u, 1u, 2u, 33u, 5000u}) {
    std::map<std::pair<int32_t, int32_t>, int32_t> ranks;
    MergeTable table;
    table.Reserve(count);
    for (size_t i = 0; i < count; ++i) {
      const auto left = static_cast<int32_t>(stream.NextBelow(200)),
                 right = static_cast<int32_t>(stream.NextBelow(200));
      ranks[{left, right}] = static_cast<int32_t>(i);
      table.Insert(left, right, {static_cast<int32_t>(i), left + right});
    }
    for (int32_t left = 0; left < 200; ++left) {
      for (int32_t right = 0; right < 200; ++right) {
        const auto expected = ranks.find({left, right});
        const MergeTable::Merge found = table.Find(left, right);
        ASSERT_EQ(found.rank, expected == ranks.end() ? -1 : expected->second);
        ASSERT_EQ(found.id, expected == ranks.end() ? -1 : left + right);
      }
    }
  }
  EXPECT_EQ(MergeTable().Find(1, 2).rank, -1);
}

// No input is quadratic: a megabyte of one letter takes a few steps a byte, counted.
TEST(BpeModel, AMegabyteOfOneLetterTakesLinearlyManySteps) {
  std::vector<BpeModel::Merge> merges = {
      {'a', 'a', 256}, {256, 256, 257}, {257, 257, 258}, {258, 'a', 259}, {257, 'a', 260}};
  const BpeModel model(Bytes(), merges, {});
  for (const std::string& unit : {std::string("a"), std::string("ab"), std::string("aab")}) {
    std::string piece;
    while (piece.size() < 1'000'003) piece += unit;
    BpeModel::Scratch scratch;
    const std::vector<int32_t> ids = Encode(model, piece, &scratch);
    EXPECT_LT(scratch.steps, 5 * piece.size()) << unit;
    EXPECT_GE(scratch.steps, piece.size()) << unit;
    EXPECT_GE(ids.size(), piece.size() / 9);
  }
}

TEST(BpeModel, MissingBytesAreLeftOutOrUnknown) {
  BpeModelOptions options = Bytes();
  options.byte_ids['x'] = options.byte_ids['y'] = -1;
  const std::vector<BpeModel::Merge> merges = {{'a', 'b', 256}};
  BpeModel::Scratch dropping, single, fused;
  EXPECT_EQ(Encode(BpeModel(options, merges, {}), "axyb", &dropping), (std::vector<int32_t>{256}));
  options.unknown_id = 300;
  EXPECT_EQ(Encode(BpeModel(options, merges, {}), "axyb", &single),
            (std::vector<int32_t>{'a', 300, 300, 'b'}));
  options.fuse_unknown = true;
  EXPECT_EQ(Encode(BpeModel(options, merges, {}), "axyb", &fused), (std::vector<int32_t>{'a', 300, 'b'}));
}

TEST(BpeModel, IgnoreMergesTakesWholePieces) {
  BpeModelOptions options = Bytes();
  options.ignore_merges = true;
  const BpeModel model(options, {{'a', 'b', 256}}, {{"abab", 400}});
  BpeModel::Scratch scratch;
  EXPECT_EQ(Encode(model, "abab", &scratch), (std::vector<int32_t>{400}));
  EXPECT_EQ(Encode(model, "ababab", &scratch), (std::vector<int32_t>{256, 256, 256}));
}

}  // namespace
}  // namespace volery::text
