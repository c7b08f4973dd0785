#pragma once
// The order in which RWKV-LM's trainers take samples from a binidx stream: a walk over chunks of the
// context's length by cubes modulo a "magic prime" p. Every whole number below p comes once in p samples,
// because p = 2 mod 3 makes cubing a permutation. Pure functions.

#include <cstdint>

#include "core/base/status.h"

namespace volery::data {

// The largest prime p = 2 mod 3 with p <= tokens / context - 1 (a whole division), as RWKV-LM's scripts print
// it. InvalidArgument where there is none: fewer than three contexts of tokens.
StatusOr<int64_t> LargestMagicPrime(int64_t tokens, int64_t context);

// InvalidArgument, with the prime to use instead: `prime` is no prime, isn't 2 mod 3, lets the last sample
// leave the tokens, or covers 90 % of the stream or less (RWKV-LM's own bounds).
Status CheckMagicPrime(int64_t prime, int64_t tokens, int64_t context);

// Where sample `sample` (0, 1, 2 ... over all epochs and ranks) begins, in tokens; it is context + 1 tokens
// long. With n = sample + 1, p = prime: context * (floor(p (sqrt(5) - 1) / 2) n^3 mod p). RWKV-LM counts, for
// 40320 samples an epoch: sample = epoch * 40320 + index * ranks + rank. Requires sample >= 0 and 0 < prime <
// 2^53.
int64_t MagicPrimeOffset(int64_t prime, int64_t context, int64_t sample);

}  // namespace volery::data
