#include "core/tensor/parallel.h"

#include <ATen/Parallel.h>

namespace volery::tensor {

void ParallelFor(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

}  // namespace volery::tensor
