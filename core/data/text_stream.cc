#include "core/data/text_stream.h"

#include <algorithm>

#include "core/data/magic_prime.h"

namespace volery::data {
namespace {

std::vector<double> Weights(const std::vector<TextSource>& sources) {
  std::vector<double> weights;
  for (const TextSource& source : sources) weights.push_back(source.weight);
  return weights;
}

// Sources of one size must not be walked in one order.
uint64_t SeedOf(uint64_t seed, size_t source) {
  base::RandomStream words(seed, base::RandomUse::kTextOrder, ~uint64_t{0}, static_cast<uint32_t>(source));
  return uint64_t{words.Word(0)} << 32 | words.Word(1);
}

}  // namespace

StatusOr<TextOrder> ParseTextOrder(std::string_view word) {
  if (word == "shuffled") return TextOrder::kShuffled;
  if (word == "sequential") return TextOrder::kSequential;
  if (word == "magic_prime") return TextOrder::kMagicPrime;
  return InvalidError("order = \"", word,
                      "\"; expected one of \"shuffled\", \"sequential\", \"magic_prime\"");
}

StatusOr<TextStream> TextStream::Make(const TextStreamOptions& options, std::vector<TextSource> sources) {
  VOLERY_CHECK(!sources.empty() && options.sequences > 0 && options.shape.length() > 0);
  const std::vector<double> weights = Weights(sources);
  TextStream stream(options, std::move(sources), Mixture(weights));
  for (size_t i = 0; i < stream.sources_.size(); ++i) {
    VOLERY_ASSIGN_OR_RETURN(Walk walk, stream.MakeWalk(i));
    stream.walks_.push_back(std::move(walk));
  }
  return stream;
}

StatusOr<TextStream> TextStream::MakeHeldOut(TextStreamOptions options, TextSource source) {
  const int64_t all = (source.tokens->size() - 1) / options.shape.length();
  if (all < 1) {
    return InvalidError(source.where, ": ", source.tokens->size(), " tokens are less than one sequence of ",
                        options.shape.length(), " tokens (and one to predict)");
  }
  options.held_out = std::min(options.held_out, all);
  const double weight = 1;
  TextStream stream(options, {std::move(source)}, Mixture(std::span(&weight, 1)));
  stream.walks_.emplace_back();
  return stream;
}

StatusOr<TextStream::Walk> TextStream::MakeWalk(size_t source) const {
  const std::string& where = sources_[source].where;
  const int64_t tokens = sources_[source].tokens->size(), length = options_.shape.length();
  const int64_t all = (tokens - 1) / length;  // each predicts one token more than it reads
  Walk walk;
  walk.windows = all - options_.held_out;
  if (walk.windows < 1) {
    return InvalidError(where, ": ", tokens, " tokens are ", std::max<int64_t>(all, 0), " sequences of ",
                        length, " tokens (and one to predict)",
                        options_.held_out > 0 ? Cat(", of which ", options_.held_out, " are held out") : "",
                        "; nothing is left to train on. Make pretrain.context",
                        options_.shape.contexts > 1 ? " or pretrain.carry" : "", " smaller",
                        options_.held_out > 0 ? ", hold out less (validation.sequences)" : "",
                        " or bring more text");
  }
  if (options_.order == TextOrder::kMagicPrime) {
    const int64_t usable = options_.held_out > 0 ? walk.windows * length + 1 : tokens;
    const auto prime = options_.magic_prime > 0 ? StatusOr<int64_t>(options_.magic_prime)
                                                : LargestMagicPrime(usable, length);
    if (!prime.ok()) return Annotate(prime.status(), where);
    walk.windows = *prime;
    // The largest prime of a short text may leave more of it unread than RWKV-LM's own check allows.
    if (options_.magic_prime > 0)
      VOLERY_RETURN_IF_ERROR(Annotate(CheckMagicPrime(walk.windows, usable, length), where));
  }
  if (options_.order == TextOrder::kShuffled)
    walk.permutation.emplace(SeedOf(options_.seed, source), base::RandomUse::kTextOrder, walk.windows);
  return walk;
}

TextWindow TextStream::WindowOf(int64_t sample) const {
  const Mixture::Draw draw = mixture_.At(sample);
  const Walk& walk = walks_[draw.source];
  const TokenSource* tokens = sources_[draw.source].tokens.get();
  const int64_t length = options_.shape.length();
  if (options_.order == TextOrder::kMagicPrime)
    return {tokens, MagicPrimeOffset(walk.windows, length, draw.number)};
  const int64_t position = draw.number % walk.windows;
  const int64_t window =
      walk.permutation ? walk.permutation->At(static_cast<uint64_t>(draw.number / walk.windows), position)
                       : position;
  return {tokens, window * length};
}

TextBatch TextStream::Step(int64_t step) const {
  std::vector<TextWindow> lanes;
  for (int64_t i = 0; i < options_.sequences; ++i) lanes.push_back(WindowOf(step * options_.sequences + i));
  return MakeTextBatch(lanes, options_.shape);
}

int64_t TextStream::held_out_batches() const {
  return (held_out() + options_.sequences - 1) / options_.sequences;
}

TextBatch TextStream::HeldOut(int64_t batch) const {
  std::vector<TextWindow> lanes;
  const int64_t all = held_out(), length = options_.shape.length();
  for (int64_t i = batch * options_.sequences; i < std::min(all, (batch + 1) * options_.sequences); ++i) {
    const TokenSource* tokens = sources_[static_cast<size_t>(i / options_.held_out)].tokens.get();
    const int64_t first = (tokens->size() - 1) / length - options_.held_out;
    lanes.push_back({tokens, (first + i % options_.held_out) * length});
  }
  return MakeTextBatch(lanes, options_.shape);
}

std::string TextStream::Fingerprint() const {
  std::string text =
      Cat("context ", options_.shape.context, " x ", options_.shape.contexts, ", ", options_.sequences,
          " sequences, documents ", options_.shape.apart ? "apart" : "joined", ", order ",
          static_cast<int>(options_.order), ", seed ", options_.seed, ", held out ", options_.held_out, ";");
  for (size_t i = 0; i < sources_.size(); ++i) {
    text += Cat(" ", sources_[i].tokens->size(), " tokens in ", sources_[i].tokens->documents(),
                " documents, ", walks_[i].windows, " windows, ", mixture_.InBlock(i), "/", Mixture::kBlock);
    if (sources_[i].tokens->ignored() > 0) text += Cat(", ", sources_[i].tokens->ignored(), " without a loss");
  }
  return text;
}

}  // namespace volery::data
