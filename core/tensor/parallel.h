#pragma once
// Rows over LibTorch's threads of the calling thread.

#include <cstdint>

namespace volery::tensor {

// body(context, begin, end) over [0, rows); in parallel.cc, the one file of core with OpenMP on (without it
// at::parallel_for is a plain loop).
void ParallelFor(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context);

template <class Body>
void ParallelRows(int64_t rows, Body body) {
  ParallelFor(
      rows, [](void* context, int64_t begin, int64_t end) { (*static_cast<Body*>(context))(begin, end); },
      &body);
}

}  // namespace volery::tensor
