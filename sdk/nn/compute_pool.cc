#include "compute_pool.h"

#include <chrono>
#include <stdexcept>
#include <utility>

namespace volery::nn {
namespace {

constexpr auto kSpin = std::chrono::microseconds(40);
constexpr int kPausesPerLook = 32;

thread_local bool inside_task = false;

void Pause() {
#if defined(__x86_64__)
  for (int i = 0; i < kPausesPerLook; i++) __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// True as soon as `ready` is; false after about kSpin.
template <class Ready>
bool SpinUntil(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 4; i++) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

constexpr uint64_t Count(uint64_t state) {
  return state & 0xffff;
}
constexpr uint64_t Next(uint64_t state) {
  return state >> 16 & 0xffff;
}

}  // namespace

ComputePool::ComputePool(int threads) {
  for (int i = 1; i < threads; i++) workers_.emplace_back([this] { Work(); });
}

ComputePool::~ComputePool() {
  stop_ = true;
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ComputePool::Run(int64_t tasks, Body body, const void* context) {
  if (tasks < 0 || tasks > kMaxTasks) throw std::invalid_argument("ComputePool: too many tasks");
  if (tasks <= 1 || workers_.empty() || inside_task) {
    for (int64_t i = 0; i < tasks; i++) body(context, i);
    return;
  }
  body_ = body;
  context_ = context;
  unfinished_.store(tasks, std::memory_order_relaxed);
  const uint32_t job = job_.load(std::memory_order_relaxed) + 1;
  state_.store(static_cast<uint64_t>(job) << 32 | static_cast<uint64_t>(tasks), std::memory_order_release);
  job_.store(job, std::memory_order_release);
  job_.notify_all();
  while (TakeOne()) {
  }
  const auto done = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
  while (!SpinUntil(done)) std::this_thread::yield();
  if (failed_.load(std::memory_order_relaxed)) {
    failed_ = false;
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

bool ComputePool::TakeOne() {
  uint64_t state = state_.load(std::memory_order_acquire);
  do {
    if (Next(state) >= Count(state)) return false;
  } while (!state_.compare_exchange_weak(state, state + 0x10000, std::memory_order_acquire));
  inside_task = true;
  try {
    body_(context_, static_cast<int64_t>(Next(state)));
  } catch (...) {
    if (!failed_.exchange(true)) error_ = std::current_exception();
  }
  inside_task = false;
  unfinished_.fetch_sub(1, std::memory_order_release);
  return true;
}

void ComputePool::WaitForTasks(uint32_t seen) {
  const auto posted = [&] { return job_.load(std::memory_order_acquire) != seen; };
  if (!SpinUntil(posted)) job_.wait(seen, std::memory_order_acquire);
}

void ComputePool::Work() {
  uint32_t seen = 0;
  while (!stop_) {
    WaitForTasks(seen);
    seen = job_.load(std::memory_order_acquire);
    while (TakeOne()) {
    }
  }
}

}  // namespace volery::nn
