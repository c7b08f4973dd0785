#pragma once
// The text of each step as a pure function of (sources, options, step): a mixture of sources, each walked in
// its own order, window after window. Nothing is kept between steps, so a resume needs the step's number
// only. Immutable and thread-safe.
//
//   VOLERY_ASSIGN_OR_RETURN(TextStream stream, TextStream::Make(options, {{tokens, "a.txt", 1.0}}));
//   TextBatch batch = stream.Step(17);

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/data/mixture.h"
#include "core/data/permutation.h"
#include "core/data/text_batch.h"
#include "core/data/token_source.h"

namespace volery::data {

// kShuffled: another permutation of the windows each epoch. kSequential: as they lie. kMagicPrime: as RWKV's
// trainers (magic_prime.h), sample = step x sequences + lane.
enum class TextOrder : uint8_t { kShuffled, kSequential, kMagicPrime };
StatusOr<TextOrder> ParseTextOrder(std::string_view word);  // "shuffled" | "sequential" | "magic_prime"

struct TextStreamOptions {
  TextShape shape;
  int64_t sequences = 8;  // lanes of a step
  TextOrder order = TextOrder::kShuffled;
  int64_t magic_prime = 0;  // 0: the largest that fits
  uint64_t seed = 0;
  int64_t held_out = 0;  // windows at the end of each source that steps never see
};

struct TextSource {
  std::shared_ptr<const TokenSource> tokens;
  std::string where;  // for messages
  double weight = 1;
};

class TextStream {
 public:
  // Errors name the source: too few tokens for one window beside those held out, a prime that doesn't fit.
  static StatusOr<TextStream> Make(const TextStreamOptions& options, std::vector<TextSource> sources);
  // A text of its own to hold out, at most options.held_out windows from its end; it has no steps.
  static StatusOr<TextStream> MakeHeldOut(TextStreamOptions options, TextSource source);

  TextBatch Step(int64_t step) const;
  // The windows held out of all sources, `sequences` at a time; the last batch may be smaller.
  int64_t held_out_batches() const;
  TextBatch HeldOut(int64_t batch) const;

  const std::vector<TextSource>& sources() const { return sources_; }
  int64_t windows(size_t source) const { return walks_[source].windows; }  // of an epoch of it
  double share(size_t source) const {                                      // of the sequences of a step
    return static_cast<double>(mixture_.InBlock(source)) / static_cast<double>(Mixture::kBlock);
  }
  int64_t held_out() const { return options_.held_out * static_cast<int64_t>(sources_.size()); }
  int64_t tokens_per_step() const { return options_.sequences * options_.shape.length(); }
  // What must be the same for a resume to go on with the same text.
  std::string Fingerprint() const;

 private:
  struct Walk {
    int64_t windows = 0;  // that are trained on; held-out ones lie behind them
    std::optional<Permutation> permutation;
  };

  TextStream(const TextStreamOptions& options, std::vector<TextSource> sources, Mixture mixture)
      : options_(options), sources_(std::move(sources)), mixture_(std::move(mixture)) {}
  StatusOr<Walk> MakeWalk(size_t source) const;
  TextWindow WindowOf(int64_t sample) const;

  TextStreamOptions options_;
  std::vector<TextSource> sources_;
  Mixture mixture_;
  std::vector<Walk> walks_;
};

}  // namespace volery::data
