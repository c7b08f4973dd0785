#include "core/tensor/threads.h"

#include <ATen/Parallel.h>

#include <cstdlib>

#include "core/base/status.h"

namespace volery::tensor {

void SetComputeThreads(int count) {
  VOLERY_CHECK(count >= 1);
  at::set_num_threads(count);
}

int ComputeThreads() {
  return at::get_num_threads();
}

bool SetPassiveWaiting() {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return false;
  return setenv("OMP_WAIT_POLICY", "passive", 0) == 0;
}

}  // namespace volery::tensor
