#pragma once
// Error values: absl::Status and StatusOr under short names, two propagation macros, and makers that take any
// printable arguments. Exceptions are caught where third-party code is called and become a Status here.
//
//   Status Load(const std::string& path) {
//     VOLERY_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//     if (text.empty()) return InvalidError(path, ": file is empty; pass a recipe");
//     return OkStatus();
//   }
//
// Messages say what, where, why and what to do. Codes decide the exit code of the program: InvalidArgument, NotFound,
// AlreadyExists and FailedPrecondition mean "wrong input" (2 before the first step); everything else is a failure (1).

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <sstream>
#include <string>
#include <utility>

namespace volery {

using absl::OkStatus;
using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

// Concatenates anything that an ostream prints; doubles with 9 significant digits.
template <class... Args>
std::string Cat(const Args&... args) {
  std::ostringstream out;
  out.precision(9);
  (out << ... << args);
  return std::move(out).str();
}

template <class... Args>
Status InvalidError(const Args&... args) { return absl::InvalidArgumentError(Cat(args...)); }
template <class... Args>
Status NotFoundError(const Args&... args) { return absl::NotFoundError(Cat(args...)); }
template <class... Args>
Status ExistsError(const Args&... args) { return absl::AlreadyExistsError(Cat(args...)); }
template <class... Args>
Status PreconditionError(const Args&... args) { return absl::FailedPreconditionError(Cat(args...)); }
template <class... Args>
Status DataLossError(const Args&... args) { return absl::DataLossError(Cat(args...)); }
template <class... Args>
Status ResourceError(const Args&... args) { return absl::ResourceExhaustedError(Cat(args...)); }
template <class... Args>
Status InternalError(const Args&... args) { return absl::InternalError(Cat(args...)); }
template <class... Args>
Status DeadlineError(const Args&... args) { return absl::DeadlineExceededError(Cat(args...)); }
template <class... Args>
Status CancelledError(const Args&... args) { return absl::CancelledError(Cat(args...)); }

// The message as a std::string (Debian's absl::string_view is not std::string_view).
inline std::string Message(const Status& status) { return std::string(status.message()); }

// The same code with `context` and ": " in front of the message; OK stays OK.
template <class... Args>
Status Annotate(const Status& status, const Args&... context) {
  if (status.ok()) return status;
  return Status(status.code(), Cat(context..., ": ", Message(status)));
}

// True for codes that mean wrong input rather than a failure at work.
inline bool IsInputError(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

}  // namespace volery

#define VOLERY_RETURN_IF_ERROR(expr)                        \
  do {                                                      \
    if (::volery::Status volery_status = (expr); !volery_status.ok()) return volery_status; \
  } while (false)

#define VOLERY_STATUS_JOIN2(a, b) a##b
#define VOLERY_STATUS_JOIN(a, b) VOLERY_STATUS_JOIN2(a, b)
// VOLERY_ASSIGN_OR_RETURN(auto x, StatusOrExpression()); a type with a comma needs an alias first.
#define VOLERY_ASSIGN_OR_RETURN(lhs, expr) \
  VOLERY_ASSIGN_OR_RETURN_IMPL(VOLERY_STATUS_JOIN(volery_or_, __LINE__), lhs, expr)
#define VOLERY_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) return tmp.status();                \
  lhs = std::move(tmp).value()

// A broken promise of the program itself, never of its input: prints and aborts.
#define VOLERY_CHECK(cond) \
  ((cond) ? (void)0 : ::volery::internal::CheckFailed(#cond, __FILE__, __LINE__))

namespace volery::internal {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}
