#pragma once
// exp for log-softmax sums: one polynomial in separate multiplications and additions, so that every
// instruction set gives the same bits. Relative error below 3e-7. Works on a float or on a vector of floats
// (gcc vector types).

#include <cstdint>
#include <cstring>

namespace volery::inference {

typedef float Float16Lanes __attribute__((vector_size(64), aligned(4)));
typedef int32_t Int16Lanes __attribute__((vector_size(64), aligned(4)));

// e^x for x <= 0; 0 below -87. NaN is not kept: callers test for it.
template <class F, class I>
[[gnu::always_inline]] inline void ExpInPlace(F& x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const F t = x * 1.44269504f + kRound;
  const F n = t - kRound;
  const F r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  F p = r * 1.38889e-3f + 8.3333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 0.166666667f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  I bits, power;
  std::memcpy(&bits, &t, sizeof bits);
  power = (bits - 0x4B400000 + 127) << 23;
  F scale;
  std::memcpy(&scale, &power, sizeof scale);
  const F value = p * scale;
  x = x < -87.0f ? F{} : value;
}

inline float FixedExp(float x) {
  ExpInPlace<float, int32_t>(x);
  return x;
}

}  // namespace volery::inference
