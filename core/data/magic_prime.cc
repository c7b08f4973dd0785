#include "core/data/magic_prime.h"

#include <cmath>

namespace volery::data {
namespace {

bool IsPrime(int64_t n) {
  if (n < 4) return n == 2 || n == 3;
  if (n % 2 == 0 || n % 3 == 0) return false;
  for (int64_t d = 5; d <= n / d; d += 6) {
    if (n % d == 0 || n % (d + 2) == 0) return false;
  }
  return true;
}

}  // namespace

StatusOr<int64_t> LargestMagicPrime(int64_t tokens, int64_t context) {
  if (context < 1) return InvalidError("a context of ", context, " tokens isn't possible");
  for (int64_t p = tokens / context - 1; p > 1; --p) {
    if (p % 3 == 2 && IsPrime(p)) return p;
  }
  return InvalidError(tokens, " tokens are too few for samples of ", context, " tokens; at least ",
                      3 * context, " are needed");
}

Status CheckMagicPrime(int64_t prime, int64_t tokens, int64_t context) {
  VOLERY_ASSIGN_OR_RETURN(const int64_t largest, LargestMagicPrime(tokens, context));
  const int64_t chunks = tokens / context;
  const char* problem = nullptr;
  // The order matters: a number within the stream's chunks is quickly tested for being prime.
  if (prime < 2 || prime > chunks || prime * context + 1 > tokens) {
    problem = "lets samples leave the tokens";
  } else if (static_cast<double>(prime) / static_cast<double>(chunks) <= 0.9) {
    problem = "leaves a tenth of the tokens or more unread";
  } else if (prime % 3 != 2 || !IsPrime(prime)) {
    problem = "isn't a prime of the form 3 k + 2";
  }
  if (problem == nullptr) return OkStatus();
  return InvalidError("magic prime ", prime, " ", problem, " (", tokens, " tokens, context ", context,
                      "); use ", largest);
}

int64_t MagicPrimeOffset(int64_t prime, int64_t context, int64_t sample) {
  VOLERY_CHECK(sample >= 0 && prime > 0 && prime < int64_t{1} << 53);
  const double golden = (std::sqrt(5.0) - 1) / 2;
  const auto factor = static_cast<__int128>(static_cast<double>(prime) * golden);
  const __int128 n = (static_cast<__int128>(sample) + 1) % prime;
  return static_cast<int64_t>(factor * n % prime * n % prime * n % prime) * context;
}

}  // namespace volery::data
