// Kernels for any processor: fused multiply-adds are fmaf calls where the hardware has none, exact and slow.
#pragma GCC optimize("O3")
#include "kernels.h"

#define VOLERY_VEC_WIDTH 4
#define VOLERY_TABLE PlainTable
namespace {
typedef float FmaVec __attribute__((vector_size(16)));
inline __attribute__((always_inline)) FmaVec PlainFma(FmaVec a, FmaVec b, FmaVec c) {
  FmaVec out;
  for (int i = 0; i < 4; i++) out[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return out;
}
}  // namespace
#define VOLERY_FMA(a, b, c) PlainFma(a, b, c)
#define VOLERY_WIDEN(p) __builtin_convertvector(*reinterpret_cast<const VecH*>(p), VecW)
#define VOLERY_STREAM(to, from) __builtin_memcpy(to, from, 64)
#define VOLERY_STREAM_END() (void)0
#include "rows.inc"
