#pragma once
// Turns exceptions of LibTorch, the standard library and model plugins into a Status: the one place where
// they are caught. c10::Error messages lose their C++ stack. Thread-safe; no state.
//
//   VOLERY_ASSIGN_OR_RETURN(at::Tensor y, tensor::Guard("head of micro-batch 3", [&] { return
//   model.Logits(x); }));

#include <exception>
#include <functional>
#include <string>
#include <type_traits>

#include "core/base/status.h"

namespace volery::tensor {

// The Status of a caught exception, `what` in front: std::invalid_argument becomes InvalidArgument,
// std::bad_alloc and LibTorch's failed allocations ResourceExhausted, everything else Internal.
Status FromException(const std::string& what, std::exception_ptr exception);

// Calls `function`; its result may be void, Status, StatusOr<T> or T (returned as StatusOr<T>).
template <class Function>
auto Guard(const std::string& what, Function&& function) {
  using Result = std::invoke_result_t<Function>;
  if constexpr (std::is_void_v<Result>) {
    try {
      std::forward<Function>(function)();
      return OkStatus();
    } catch (...) {
      return FromException(what, std::current_exception());
    }
  } else {
    constexpr bool kCarriesStatus = std::is_same_v<Result, Status> || requires(Result r) {
      r.status();
    };
    using Wrapped = std::conditional_t<kCarriesStatus, Result, StatusOr<Result>>;
    try {
      return Wrapped(std::forward<Function>(function)());
    } catch (...) {
      return Wrapped(FromException(what, std::current_exception()));
    }
  }
}

}  // namespace volery::tensor
