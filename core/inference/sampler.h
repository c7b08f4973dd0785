#pragma once
// From logits to tokens, exactly as DESIGN section 2 "Randomness" says: vocabulary mask, temperature, top-k,
// top-p, min-p, renormalise, Gumbel noise, argmax, lowest id on ties. A token is a pure function of (logits,
// params, key): neither the other rows of the call nor the number of threads matter.
//
//   z_i = logits_i / T in float32 for ids below the vocabulary size (T = 0: z = logits, the largest z wins,
//   no noise) top-k keeps the k largest z; top-p then the shortest prefix (largest first, lower id first on
//   ties) whose probability among those reaches p, at least one id; min-p then drops what has less than min_p
//   times the largest probability score_i = z_i + Gumbel(word i of the key) in double, over the kept ids
//   (renormalising shifts all of them alike) log-prob = z_token - log sum_j exp z_j over the whole vocabulary
//   mask, whatever was truncated

#include <cstdint>
#include <span>

#include "core/base/random.h"
#include "core/base/status.h"
#include "core/data/engine.h"

namespace volery::inference {

// Names the noise of one token: the word for id i is word (position << 32 | i) of
// RandomStream(seed, RandomUse::kToken, group.bits, sample).
struct NoiseKey {
  uint64_t seed = 0;
  GroupId group;
  int32_t sample = 0;
  int64_t position = 0;  // of the token to sample in its sequence, prompt included
};

struct SampleRow {
  const float* logits = nullptr;  // at least `vocabulary` of them; ids from `vocabulary` on are masked
  const data::SamplingParams* params = nullptr;
  NoiseKey key;
};

struct SampledToken {
  int32_t token = -1;  // -1: the row holds NaN or +inf, or nothing but -inf
  float logprob = 0;
};

// One token a row; `out` has as many entries as `rows`. Rows are spread over LibTorch's threads. Thread-safe.
void SampleTokens(std::span<const SampleRow> rows, int64_t vocabulary, std::span<SampledToken> out);

// log sum_j exp z_j with a fixed order of additions; NaN if any z is NaN or +inf, -inf if all are.
double LogSumExp(std::span<const float> z);

// temperature >= 0, top_k >= 0, 0 < top_p <= 1, 0 <= min_p <= 1, max_new_tokens >= 1, stop ids below the
// vocabulary size.
Status CheckSamplingParams(const data::SamplingParams& params, int64_t vocabulary);

}  // namespace volery::inference
