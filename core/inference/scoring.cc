#include "core/inference/scoring.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "core/inference/sampler.h"
#include "core/tensor/guard.h"
#include "volery/nn/pool.h"

namespace volery::inference {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

Status CheckSequences(const native::ModelInfo& info, const Sequences& sequences,
                      const ScoreOptions& options) {
  if (!(options.temperature > 0))
    return InvalidError("scoring: temperature = ", options.temperature, "; it must be above 0");
  const int64_t limit =
      options.vocabulary > 0 ? std::min(options.vocabulary, info.vocabulary) : info.vocabulary;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (static_cast<int64_t>(sequences[i].size()) > info.context) {
      return InvalidError("sequence ", i, " has ", sequences[i].size(), " tokens, the model's context is ",
                          info.context);
    }
    for (int32_t token : sequences[i]) {
      if (token < 0 || token >= limit)
        return InvalidError("sequence ", i, ": token ", token, " is not in the vocabulary of ", limit);
    }
  }
  return OkStatus();
}

native::Batch MakeBatch(const Sequences& sequences, std::span<const size_t> members, c10::Device device) {
  std::vector<int64_t> tokens, positions;
  native::Batch batch;
  for (size_t member : members) {
    const int64_t begin = static_cast<int64_t>(tokens.size());
    for (size_t i = 0; i < sequences[member].size(); ++i) {
      tokens.push_back(sequences[member][i]);
      positions.push_back(static_cast<int64_t>(i));
    }
    batch.segments.push_back({begin, static_cast<int64_t>(tokens.size()), -1});
  }
  batch.tokens = at::tensor(tokens, at::kLong).to(device);
  batch.positions = at::tensor(positions, at::kLong).to(device);
  return batch;
}

// Log-prob of targets[r] under row r of `logits`; -1: no target, then 0, or NaN where the row isn't finite.
void ScoreRows(const at::Tensor& logits, std::span<const int32_t> targets, const ScoreOptions& options,
               std::span<float> out) {
  const int64_t width =
      options.vocabulary > 0 ? std::min(options.vocabulary, logits.size(1)) : logits.size(1);
  const at::Tensor scaled = logits.narrow(1, 0, width).div(options.temperature).contiguous();
  const float* rows = scaled.const_data_ptr<float>();
  nn::ForRows(static_cast<int64_t>(targets.size()), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const std::span<const float> z(rows + r * width, static_cast<size_t>(width));
      const double partition = LogSumExp(z), logit = targets[r] < 0 ? partition : static_cast<double>(z[targets[r]]);
      out[r] = static_cast<float>(logit - partition);
    }
  });
}

// Returns the first token whose logits aren't finite, as (sequence, position).
std::optional<std::pair<size_t, int64_t>> ScoreBatch(native::Model& model, const Sequences& sequences, std::span<const size_t> members,
                const ScoreOptions& options, std::vector<TokenScores>& results) {
  native::Batch batch = MakeBatch(sequences, members, options.device);
  std::unique_ptr<native::TrainContext> context = model.Begin(batch);
  at::Tensor x = model.Embed(batch, *context);
  for (int64_t block = 0; block < model.blocks(); ++block) x = model.Block(block, x, *context);
  const int64_t total = batch.tokens.size(0);
  std::vector<int32_t> targets;
  for (size_t member : members) {
    targets.insert(targets.end(), sequences[member].begin() + 1, sequences[member].end());
    targets.push_back(-1);
  }
  std::vector<float> logprobs(static_cast<size_t>(total));
  std::vector<at::Tensor> kept;
  for (int64_t begin = 0; begin < total; begin += options.slice_rows) {
    const int64_t count = std::min(options.slice_rows, total - begin);
    const at::Tensor logits = model.Logits(model.Final(x.narrow(0, begin, count))).to(at::kCPU, at::kFloat);
    ScoreRows(logits, std::span(targets).subspan(begin, count), options,
              std::span(logprobs).subspan(begin, count));
    if (options.logits) kept.push_back(logits);
  }
  const at::Tensor all = options.logits ? at::cat(kept) : at::Tensor();
  int64_t begin = 0;
  std::optional<std::pair<size_t, int64_t>> bad;
  for (size_t member : members) {
    const int64_t length = static_cast<int64_t>(sequences[member].size());
    const auto own = std::span(logprobs).subspan(static_cast<size_t>(begin), static_cast<size_t>(length));
    const auto first = std::ranges::find_if(own, [](float logprob) { return !std::isfinite(logprob); });
    if (!bad && first != own.end()) bad = {member, first - own.begin()};
    results[member].logprobs.assign(logprobs.begin() + begin, logprobs.begin() + begin + length - 1);
    if (options.logits) results[member].logits = all.narrow(0, begin, length).clone();
    begin += length;
  }
  return bad;
}

}  // namespace

StatusOr<std::vector<TokenScores>> ScoreTokens(native::Model& model, const Sequences& sequences,
                                               const ScoreOptions& options) {
  VOLERY_RETURN_IF_ERROR(CheckSequences(model.info(), sequences, options));
  std::vector<TokenScores> results(sequences.size());
  std::optional<std::pair<size_t, int64_t>> bad;
  VOLERY_RETURN_IF_ERROR(tensor::Guard(Cat("scoring with model family ", model.info().family), [&] {
    at::NoGradGuard no_grad;
    std::vector<size_t> members;
    int64_t tokens = 0;
    const auto flush = [&] {
      if (!members.empty() && !bad) bad = ScoreBatch(model, sequences, members, options, results);
      members.clear();
      tokens = 0;
    };
    for (size_t i = 0; i < sequences.size(); ++i) {
      const int64_t length = static_cast<int64_t>(sequences[i].size());
      if (length == 0) continue;
      if (tokens + length > options.batch_tokens) flush();
      members.push_back(i);
      tokens += length;
    }
    flush();
  }));
  if (bad) {
    return InternalError("the logits of sequence ", bad->first, " at position ", bad->second,
                         " are not finite; the model has diverged or its file is damaged");
  }
  return results;
}

}  // namespace volery::inference
