// Kernels for processors with AVX2 and FMA.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC optimize("O3")
#include "kernels.h"

#define VOLERY_VEC_WIDTH 8
#define VOLERY_TABLE Avx2Table
#define VOLERY_FMA(a, b, c) Vec(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)))
#define VOLERY_WIDEN(p) VecW(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p))))
// Stores 64 bytes past the caches; both addresses are aligned.
#define VOLERY_STREAM(to, from)                                              \
  for (int half = 0; half < 2; half++)                                       \
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to) + half, reinterpret_cast<const __m256i*>(from)[half])
#define VOLERY_STREAM_END() _mm_sfence()
#include "rows.inc"
#endif
