#include "core/base/status.h"

#include <cstdio>
#include <cstdlib>

namespace volery::internal {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, condition);
  std::abort();
}

}  // namespace volery::internal
