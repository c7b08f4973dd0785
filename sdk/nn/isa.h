#pragma once
// Which kernels run on this machine. VOLERY_ISA = plain | avx2 | avx512 forces a level (an unsupported one is
// refused by std::runtime_error at first use).

#include "kernels/kernels.h"

namespace volery::nn {

enum class Level { kPlain, kAvx2, kAvx512 };

// The best level that this processor supports.
Level BestLevel();
// `level` must not be above BestLevel().
const kernels::Table& TableOf(Level level, kernels::Element element);
// The table in use.
const kernels::Table& TableFor(kernels::Element element);

}  // namespace volery::nn
