#include "core/base/memory.h"

#include <sys/resource.h>

namespace volery::base {

int64_t PeakMemoryBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace volery::base
