#pragma once
// The compute threads behind nn, for loops of the host: as many as LibTorch may use on the calling thread.
//
//   nn::ForRows(rows, [&](int64_t begin, int64_t end) { ... });

#include <cstdint>

#include "volery/nn/export.h"

namespace volery::nn {

VOLERY_NN_EXPORT void RunRows(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context);

// body(begin, end) over [0, rows) in ranges, in any order, on any of the threads; returns when all have run.
template <class Body>
void ForRows(int64_t rows, Body body) {
  RunRows(
      rows, [](void* context, int64_t begin, int64_t end) { (*static_cast<Body*>(context))(begin, end); },
      &body);
}

}  // namespace volery::nn
