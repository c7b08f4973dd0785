#pragma once
// Splitting rows over LibTorch's threads when there is enough to do.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace volery::nn {

// body(context, begin, end) over [0, rows), at least `grain` rows a thread; in parallel.cc, the one file with
// OpenMP.
void ParallelFor(int64_t rows, int64_t grain, void (*body)(const void*, int64_t, int64_t),
                 const void* context);

// body(begin, end) over [0, rows); `cost` is roughly the nanoseconds of one row.
template <class Body>
void ParallelRows(int64_t rows, int64_t cost, const Body& body) {
  constexpr int64_t kWorthwhile = 20'000;
  const int64_t grain = std::max<int64_t>(1, kWorthwhile / std::max<int64_t>(cost, 1));
  ParallelFor(
      rows, grain,
      [](const void* context, int64_t begin, int64_t end) {
        (*static_cast<const Body*>(context))(begin, end);
      },
      &body);
}

// Address of element `index` of a tensor's memory.
inline char* At(const at::Tensor& tensor, int64_t index) {
  return static_cast<char*>(tensor.data_ptr()) + index * static_cast<int64_t>(tensor.element_size());
}

}  // namespace volery::nn
