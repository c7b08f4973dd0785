#pragma once
// The compute threads behind nn, for loops of the host: as many as LibTorch may use on the calling thread.

#include <cstdint>

#include "volery/nn/export.h"

namespace volery::nn {

// body(context, begin, end) over [0, rows) in ranges, in any order, on any of the threads; returns when all have run.
VOLERY_NN_EXPORT void RunRows(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context);

}  // namespace volery::nn
