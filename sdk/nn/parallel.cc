#include "parallel.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "volery/nn/pool.h"

namespace volery::nn {
namespace {

struct Free {
  void operator()(float* p) const { std::free(p); }
};
struct Buffer {
  std::unique_ptr<float, Free> data;
  int64_t count = 0;
};

}  // namespace

ComputePool& CurrentPool() {
  thread_local std::unique_ptr<ComputePool> pool;
  const int threads = at::get_num_threads();
  if (!pool || pool->threads() != threads) pool = std::make_unique<ComputePool>(threads);
  return *pool;
}

float* ThreadScratch(int use, int64_t count) {
  thread_local Buffer buffers[4];
  Buffer& buffer = buffers[use];
  if (buffer.count < count) {
    constexpr int64_t kStep = 1024;
    const int64_t rounded = (count + count / 4 + kStep - 1) / kStep * kStep;
    buffer.data.reset();
    buffer.count = 0;
    buffer.data.reset(static_cast<float*>(std::aligned_alloc(64, rounded * sizeof(float))));
    if (!buffer.data) throw std::bad_alloc();
    buffer.count = rounded;
  }
  return buffer.data.get();
}

void RunRows(int64_t rows, void (*body)(void*, int64_t, int64_t), void* context) {
  constexpr int64_t kAlways = 1'000'000'000;
  ParallelRows(rows, kAlways, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

}  // namespace volery::nn
