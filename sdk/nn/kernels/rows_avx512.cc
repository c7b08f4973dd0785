// Kernels for processors with AVX-512 (F, BW, VL, DQ).
#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC optimize("O3")
#include "kernels.h"

#define VOLERY_VEC_WIDTH 16
#define VOLERY_TABLE Avx512Table
#define VOLERY_FMA(a, b, c) Vec(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)))
#define VOLERY_WIDEN(p) \
  VecW(_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p))))
// Stores 64 bytes past the caches; both addresses are aligned.
#define VOLERY_STREAM(to, from) \
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), *reinterpret_cast<const __m512i*>(from))
#define VOLERY_STREAM_END() _mm_sfence()
#include "rows.inc"
#endif
