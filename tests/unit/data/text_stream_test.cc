#include "core/data/text_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/data/loss_by_position.h"
#include "core/data/magic_prime.h"

namespace volery::data {
namespace {

// Documents of the given lengths over 0, 1, 2 ...
std::shared_ptr<const TokenSource> Counting(const std::vector<int>& lengths) {
  std::vector<std::vector<int32_t>> documents;
  int32_t next = 0;
  for (int length : lengths) {
    documents.emplace_back(static_cast<size_t>(length));
    std::iota(documents.back().begin(), documents.back().end(), next);
    next += length;
  }
  return TokensInMemory(documents);
}

TextStreamOptions Options(int64_t context, int64_t sequences, TextOrder order) {
  TextStreamOptions options;
  options.shape.context = context;
  options.sequences = sequences;
  options.order = order;
  options.seed = 3;
  return options;
}

TextStream Make(const TextStreamOptions& options, std::vector<TextSource> sources) {
  StatusOr<TextStream> stream = TextStream::Make(options, std::move(sources));
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

std::vector<TrainSequence> Sequences(const TextBatch& batch) {
  return batch.chunks[0].sequences;
}

std::vector<int32_t> Firsts(const TextStream& stream, int64_t steps) {
  std::vector<int32_t> firsts;
  for (int64_t step = 0; step < steps; ++step) {
    for (const TrainSequence& sequence : Sequences(stream.Step(step))) firsts.push_back(sequence.tokens[0]);
  }
  return firsts;
}

TEST(TextStream, EveryTokenIsPredictedOnceAnEpoch) {
  for (const TextOrder order : {TextOrder::kShuffled, TextOrder::kSequential}) {
    const TextStream stream = Make(Options(5, 4, order), {{Counting({30, 31, 40}), "t", 1}});
    EXPECT_EQ(stream.windows(0), 20);
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::multiset<int32_t> predicted;
      for (int64_t step = 0; step < 5; ++step) {
        const TextBatch batch = stream.Step(epoch * 5 + step);
        ASSERT_EQ(batch.chunks.size(), 1u);
        ASSERT_EQ(batch.chunks[0].sequences.size(), 4u);
        for (const TrainSequence& sequence : batch.chunks[0].sequences) {
          EXPECT_EQ(sequence.length(), 6);
          EXPECT_EQ(sequence.LossTokens(), 5);
          predicted.insert(sequence.tokens.begin() + 1, sequence.tokens.end());
        }
      }
      EXPECT_EQ(predicted.size(), 100u);
      for (int32_t token = 1; token <= 100; ++token) EXPECT_EQ(predicted.count(token), 1u) << token;
    }
  }
}

TEST(TextStream, OrdersAreWhatTheyAreCalled) {
  EXPECT_EQ(Firsts(Make(Options(5, 3, TextOrder::kSequential), {{Counting({26}), "t", 1}}), 3),
            (std::vector<int32_t>{0, 5, 10, 15, 20, 0, 5, 10, 15}));
  const auto shuffled = Firsts(Make(Options(5, 4, TextOrder::kShuffled), {{Counting({101}), "t", 1}}), 10);
  const std::vector<int32_t> first(shuffled.begin(), shuffled.begin() + 20),
      second(shuffled.begin() + 20, shuffled.end());
  EXPECT_NE(first, second);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
  TextStreamOptions other = Options(5, 4, TextOrder::kShuffled);
  other.seed = 4;
  EXPECT_NE(Firsts(Make(other, {{Counting({101}), "t", 1}}), 5), first);
}

TEST(TextStream, MagicPrimeWalksAsItsFormula) {
  const TextStream stream = Make(Options(5, 4, TextOrder::kMagicPrime), {{Counting({141}), "t", 1}});
  EXPECT_EQ(stream.windows(0), 23);  // the largest prime = 2 mod 3 that is at most 141 / 5 - 1 = 27
  std::vector<int32_t> expected;
  for (int64_t sample = 0; sample < 24; ++sample)
    expected.push_back(static_cast<int32_t>(MagicPrimeOffset(23, 5, sample)));
  EXPECT_EQ(Firsts(stream, 6), expected);
  TextStreamOptions wrong = Options(5, 4, TextOrder::kMagicPrime);
  wrong.magic_prime = 21;
  EXPECT_NE(Message(TextStream::Make(wrong, {{Counting({141}), "some.idx", 1}}).status()).find("some.idx"),
            std::string::npos);
}

TEST(TextStream, HeldOutWindowsAreNeverTrainedOn) {
  TextStreamOptions options = Options(5, 4, TextOrder::kShuffled);
  options.held_out = 3;
  const TextStream stream = Make(options, {{Counting({101}), "t", 1}, {Counting({57}), "u", 1}});
  EXPECT_EQ(stream.windows(0), 17);
  EXPECT_EQ(stream.windows(1), 8);
  EXPECT_EQ(stream.held_out_batches(), 2);
  std::set<int32_t> held;
  for (int64_t i = 0; i < 2; ++i) {
    for (const TrainSequence& sequence : Sequences(stream.HeldOut(i))) held.insert(sequence.tokens[0]);
  }
  EXPECT_EQ(held, (std::set<int32_t>{85, 90, 95, 40, 45, 50}));
  for (int64_t step = 0; step < 40; ++step) {
    for (const TrainSequence& sequence : Sequences(stream.Step(step))) {
      const bool of_first = sequence.tokens[0] >= 40 && sequence.tokens[0] < 85;
      EXPECT_TRUE(of_first || sequence.tokens[0] < 40) << sequence.tokens[0];
    }
  }
}

TEST(TextStream, RefusesTextThatIsTooShort) {
  TextStreamOptions options = Options(5, 4, TextOrder::kShuffled);
  EXPECT_TRUE(TextStream::Make(options, {{Counting({6}), "t", 1}}).ok());
  EXPECT_EQ(TextStream::Make(options, {{Counting({5}), "a.txt", 1}}).status(),
            InvalidError(
                "a.txt: 5 tokens are 0 sequences of 5 tokens (and one to predict); nothing is left to train "
                "on. Make pretrain.context smaller or bring more text"));
  options.held_out = 2;
  EXPECT_FALSE(TextStream::Make(options, {{Counting({15}), "t", 1}}).ok());
  EXPECT_FALSE(TextStream::MakeHeldOut(options, {Counting({5}), "t", 1}).ok());
  EXPECT_EQ(TextStream::MakeHeldOut(options, {Counting({6}), "t", 1})->held_out(), 1);
}

TEST(TextBatch, JoinedContextsFollowOneAnother) {
  const auto tokens = Counting({7, 30});
  const TextWindow lanes[] = {{tokens.get(), 0}, {tokens.get(), 12}};
  const TextBatch batch = MakeTextBatch(lanes, {4, 3, false});
  ASSERT_EQ(batch.chunks.size(), 3u);
  for (int64_t c = 0; c < 3; ++c) {
    const TextChunk& chunk = batch.chunks[static_cast<size_t>(c)];
    ASSERT_EQ(chunk.sequences.size(), 2u);
    for (int64_t lane = 0; lane < 2; ++lane) {
      const TrainSequence& sequence = chunk.sequences[static_cast<size_t>(lane)];
      const TextPiece& piece = chunk.pieces[static_cast<size_t>(lane)];
      EXPECT_EQ(sequence.tokens[0], lane * 12 + c * 4);
      EXPECT_EQ(sequence.length(), 5);
      EXPECT_EQ(piece.lane, lane);
      EXPECT_EQ(piece.position, c * 4);
      EXPECT_EQ(piece.continues, c > 0);
      EXPECT_EQ(piece.carries, c < 2);
    }
  }
}

// Tokens 0, 1, 2 ... of which the loss counts those that 3 divides.
class Thirds : public TokenSource {
 public:
  explicit Thirds(std::vector<int64_t> begins, int64_t size) : begins_(std::move(begins)), size_(size) {}
  int64_t size() const override { return size_; }
  int64_t documents() const override { return static_cast<int64_t>(begins_.size()); }
  void Copy(int64_t begin, std::span<int32_t> out) const override {
    std::iota(out.begin(), out.end(), static_cast<int32_t>(begin));
  }
  std::vector<int64_t> DocumentsIn(int64_t begin, int64_t end) const override {
    std::vector<int64_t> in;
    std::ranges::copy_if(begins_, std::back_inserter(in), [&](int64_t b) { return b >= begin && b < end; });
    return in;
  }
  int64_t ignored() const override { return size_ - (size_ + 2) / 3; }
  void CopyLossMask(int64_t begin, std::span<uint8_t> out) const override {
    for (size_t i = 0; i < out.size(); ++i) out[i] = (begin + static_cast<int64_t>(i)) % 3 == 0 ? 1 : 0;
  }

 private:
  std::vector<int64_t> begins_;
  int64_t size_;
};

TEST(TextBatch, TheLossMaskGoesWithItsTokens) {
  const Thirds text({0, 4, 5, 14, 23}, 41);
  for (const bool apart : {false, true}) {
    const TextWindow lanes[] = {{&text, 0}, {&text, 20}};
    const TextBatch batch = MakeTextBatch(lanes, {10, 2, apart});
    int64_t sequences = 0;
    for (const TextChunk& chunk : batch.chunks) {
      for (const TrainSequence& sequence : chunk.sequences) {
        ++sequences;
        EXPECT_EQ(sequence.loss_mask[0], 0);
        for (size_t i = 1; i < sequence.tokens.size(); ++i)
          EXPECT_EQ(sequence.loss_mask[i], sequence.tokens[i] % 3 == 0 ? 1 : 0) << sequence.tokens[i];
      }
    }
    EXPECT_EQ(sequences, apart ? 7 : 4);
  }
}

TEST(TextStream, LabelsBelongToTheText) {
  const TextStreamOptions options = Options(5, 2, TextOrder::kSequential);
  const auto plain = Counting({4, 1, 9, 9, 18});
  const auto labelled = std::make_shared<const Thirds>(std::vector<int64_t>{0, 4, 5, 14, 23}, 41);
  EXPECT_EQ(Make(options, {{labelled, "t", 1}}).Fingerprint(),
            Make(options, {{plain, "t", 1}}).Fingerprint() + ", 27 without a loss");
}

TEST(TextBatch, DocumentsApartStartAfresh) {
  // Documents begin at 0, 6, 8 and 9; contexts are tokens 0 to 3, 4 to 7 and 8 to 11.
  const auto tokens = Counting({6, 2, 1, 20});
  const TextWindow lane{tokens.get(), 0};
  const TextBatch batch = MakeTextBatch(std::span(&lane, 1), {4, 3, true});
  struct Expected {
    std::vector<int32_t> tokens;
    int64_t position;
    bool continues, carries;
  };
  const std::vector<std::vector<Expected>> expected = {{{{0, 1, 2, 3, 4}, 0, false, true}},
                                                       {{{4, 5}, 4, true, false}, {{6, 7}, 0, false, false}},
                                                       {{{9, 10, 11, 12}, 0, false, false}}};
  ASSERT_EQ(batch.chunks.size(), expected.size());
  for (size_t c = 0; c < expected.size(); ++c) {
    ASSERT_EQ(batch.chunks[c].sequences.size(), expected[c].size()) << c;
    for (size_t i = 0; i < expected[c].size(); ++i) {
      EXPECT_EQ(batch.chunks[c].sequences[i].tokens, expected[c][i].tokens);
      EXPECT_EQ(batch.chunks[c].pieces[i].position, expected[c][i].position);
      EXPECT_EQ(batch.chunks[c].pieces[i].continues, expected[c][i].continues) << c;
      EXPECT_EQ(batch.chunks[c].pieces[i].carries, expected[c][i].carries) << c;
    }
  }
}

TEST(TextBatch, ADocumentThatBeginsWithAContextCarriesNothingIntoIt) {
  const auto tokens = Counting({4, 20});
  const TextWindow lane{tokens.get(), 0};
  const TextBatch batch = MakeTextBatch(std::span(&lane, 1), {4, 2, true});
  ASSERT_EQ(batch.chunks[0].sequences.size(), 1u);
  EXPECT_EQ(batch.chunks[0].sequences[0].tokens, (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_FALSE(batch.chunks[0].pieces[0].carries);
  ASSERT_EQ(batch.chunks[1].sequences.size(), 1u);
  EXPECT_EQ(batch.chunks[1].sequences[0].tokens, (std::vector<int32_t>{4, 5, 6, 7, 8}));
  EXPECT_FALSE(batch.chunks[1].pieces[0].continues);
  EXPECT_EQ(batch.chunks[1].pieces[0].position, 0);
}

TEST(Mixture, SharesAreTheWeights) {
  const double weights[] = {7, 2, 1};
  const Mixture mixture(weights);
  std::vector<int64_t> seen(3, 0);
  for (int64_t n = 0; n < 3 * Mixture::kBlock; ++n) {
    const Mixture::Draw draw = mixture.At(n);
    EXPECT_EQ(draw.number, seen[draw.source]++) << n;
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(static_cast<double>(seen[i]), static_cast<double>(n + 1) * weights[i] / 10, 2.5) << n;
  }
  EXPECT_EQ(mixture.InBlock(0) + mixture.InBlock(1) + mixture.InBlock(2), Mixture::kBlock);
  const double far[] = {1e-9, 1};
  EXPECT_EQ(Mixture(far).InBlock(0), 1);
}

TEST(Permutation, IsOneAndDiffersByEpoch) {
  for (const int64_t size : {1, 2, 5, 64, 1000}) {
    const Permutation permutation(9, base::RandomUse::kTextOrder, size);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < size; ++i) seen.insert(permutation.At(0, i));
    EXPECT_EQ(static_cast<int64_t>(seen.size()), size);
    EXPECT_EQ(*seen.rbegin(), size - 1);
  }
}

TEST(LossByPosition, BinsArePowersOfTwo) {
  LossByPosition losses;
  losses.Add(1, 1);
  losses.Add(2, 2);
  losses.Add(3, 4);
  losses.Add(64, 5);
  LossByPosition more;
  more.Add(127, 7);
  losses.Merge(more);
  base::MetricRow row;
  losses.Report("validation/", row);
  EXPECT_EQ(row,
            (base::MetricRow{
                {"validation/loss_at/1", 1}, {"validation/loss_at/2", 3}, {"validation/loss_at/64", 6}}));
  EXPECT_EQ(losses.tokens(), 5);
  EXPECT_DOUBLE_EQ(losses.Mean(), 19.0 / 5);
}

}  // namespace
}  // namespace volery::data
