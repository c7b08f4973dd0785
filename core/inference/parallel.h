#pragma once
// Rows over LibTorch's threads of the calling thread. Private to core/inference.

#include <cstdint>

namespace volery::inference {

// body(context, begin, end) over [0, rows); in parallel.cc, the folder's one file with OpenMP on (without it
// at::parallel_for is a plain loop).
void ParallelFor(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context);

template <class Body>
void ParallelRows(int64_t rows, Body body) {
  ParallelFor(
      rows, [](void* context, int64_t begin, int64_t end) { (*static_cast<Body*>(context))(begin, end); },
      &body);
}

}  // namespace volery::inference
