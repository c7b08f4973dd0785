#pragma once
// What the bench programs share: times, errors that end the program, and prompts.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "core/base/status.h"

namespace volery::bench {

constexpr int kThreads = 2;

using Clock = std::chrono::steady_clock;

inline double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

inline void Must(const Status& status) {
  if (status.ok()) return;
  std::cerr << Message(status) << "\n";
  std::exit(1);
}

template <class T>
T Must(StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

// The `index`-th prompt, any tokens.
inline std::vector<int32_t> Prompt(int64_t length, int64_t index, int64_t vocabulary) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < length; i++)
    out.push_back(static_cast<int32_t>((1000 + 7919 * i + 104729 * index) % vocabulary));
  return out;
}

}  // namespace volery::bench
