#pragma once
// Rows over the compute threads of the calling thread.

#include <cstdint>

#include "volery/nn/pool.h"

namespace volery::tensor {

// body(begin, end) over [0, rows), in ranges.
template <class Body>
void ParallelRows(int64_t rows, Body body) {
  nn::RunRows(
      rows, [](void* context, int64_t begin, int64_t end) { (*static_cast<Body*>(context))(begin, end); },
      &body);
}

}  // namespace volery::tensor
