#include "parallel.h"

#include <ATen/Parallel.h>

namespace volery::nn {

void ParallelFor(int64_t rows, int64_t grain, void (*body)(const void*, int64_t, int64_t),
                 const void* context) {
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

}  // namespace volery::nn
