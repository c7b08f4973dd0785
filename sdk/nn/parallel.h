#pragma once
// Tensors on the kernels: which they take, and work split over the calling thread's compute pool: as many
// threads as LibTorch may use on this thread (the host sets that by `[threads]`), kept for the thread's life.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "compute_pool.h"
#include "isa.h"

namespace volery::nn {

ComputePool& CurrentPool();

// Memory of the running thread, 64-byte aligned, at least `count` floats; valid until its next call with the
// same `use` (0 .. 3) on this thread.
float* ThreadScratch(int use, int64_t count);

// body(task) for each of [0, tasks).
template <class Body>
void ParallelTasks(int64_t tasks, const Body& body) {
  CurrentPool().Run(
      tasks, [](const void* context, int64_t task) { (*static_cast<const Body*>(context))(task); }, &body);
}

// body(begin, end) over [0, rows) in ranges that are worth a thread; `cost` is roughly the nanoseconds of one
// row.
template <class Body>
void ParallelRows(int64_t rows, int64_t cost, const Body& body) {
  constexpr int64_t kWorthwhile = 10'000, kTasksPerThread = 4;
  const int64_t grain = std::max<int64_t>(1, kWorthwhile / std::max<int64_t>(cost, 1));
  if (rows <= grain) {
    if (rows > 0) body(int64_t{0}, rows);
    return;
  }
  const int64_t tasks = std::min((rows + grain - 1) / grain, CurrentPool().threads() * kTasksPerThread);
  ParallelTasks(tasks, [&](int64_t task) { body(rows * task / tasks, rows * (task + 1) / tasks); });
}

// body(begin, end) over ranges of columns, each of which is a sum over `rows` rows.
template <class Body>
void ParallelColumns(int64_t columns, int64_t rows, const Body& body) {
  constexpr int64_t kColumns = 64;
  ParallelRows((columns + kColumns - 1) / kColumns, rows * kColumns / 4, [&](int64_t begin, int64_t end) {
    body(begin * kColumns, std::min(columns, end * kColumns));
  });
}

// True when the kernels take this tensor: on the CPU, float32 or bfloat16.
inline bool HasKernels(const at::Tensor& tensor) {
  return tensor.device().is_cpu() &&
         (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16);
}

inline kernels::Element ElementOf(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat ? kernels::Element::kF32 : kernels::Element::kBf16;
}

// What statistics over a tensor's rows, and gradients summed over rows, are held in.
inline at::ScalarType StatisticsType(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// None where the tensor is undefined.
inline std::optional<at::Tensor> AsOptional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

// Address of element `index` of a tensor's memory.
inline char* At(const at::Tensor& tensor, int64_t index) {
  return static_cast<char*>(tensor.data_ptr()) + index * static_cast<int64_t>(tensor.element_size());
}

}  // namespace volery::nn
