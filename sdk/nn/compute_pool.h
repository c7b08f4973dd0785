#pragma once
// Threads that share the tasks of one caller. Idle threads spin for some microseconds, then sleep; tasks are
// taken one by one, so that a thread that lost its core holds up at most the task in its hands: a busy
// neighbour slows a pool down, it doesn't stall it. Knows nothing of LibTorch.
//
//   ComputePool pool(2);
//   pool.Run(tasks, [](const void* context, int64_t task) { ... }, &context);

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace volery::nn {

class ComputePool {
 public:
  using Body = void (*)(const void* context, int64_t task);
  static constexpr int64_t kMaxTasks = 0xffff;

  // `threads` counts the caller.
  explicit ComputePool(int threads);
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // body(context, t) for t in [0, tasks), tasks <= kMaxTasks, each once, by any thread in any order; returns
  // when all have run. Rethrows the first exception of a body, after all have run. One caller at a time; a
  // call from inside a body runs its tasks on the spot.
  void Run(int64_t tasks, Body body, const void* context);

 private:
  void Work();
  bool TakeOne();
  void WaitForTasks(uint32_t seen);

  std::vector<std::thread> workers_;
  // The job under way: its number (upper 32 bits), the next task, and how many there are. One word, so that a
  // task is taken from the job that its taker saw, or not at all.
  std::atomic<uint64_t> state_{0};
  std::atomic<int64_t> unfinished_{0};
  std::atomic<uint32_t> job_{0};
  std::atomic<bool> stop_{false};
  Body body_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

}  // namespace volery::nn
