#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace volery::nn {
namespace {

Level ChooseLevel() {
  const Level best = BestLevel();
  const char* forced = std::getenv("VOLERY_ISA");
  if (!forced || !*forced) return best;
  const std::string name = forced;
  Level level;
  if (name == "plain")
    level = Level::kPlain;
  else if (name == "avx2")
    level = Level::kAvx2;
  else if (name == "avx512")
    level = Level::kAvx512;
  else
    throw std::runtime_error("VOLERY_ISA = " + name + ": it takes plain, avx2 or avx512");
  if (level > best) throw std::runtime_error("VOLERY_ISA = " + name + ": this processor doesn't support it");
  return level;
}

}  // namespace

Level BestLevel() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return Level::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Level::kAvx2;
#endif
  return Level::kPlain;
}

const kernels::Table& TableOf(Level level, kernels::Element element) {
#if defined(__x86_64__)
  if (level == Level::kAvx512) return *kernels::Avx512Table(element);
  if (level == Level::kAvx2) return *kernels::Avx2Table(element);
#endif
  return *kernels::PlainTable(element);
}

const kernels::Table& TableFor(kernels::Element element) {
  static const Level level = ChooseLevel();
  return TableOf(level, element);
}

}  // namespace volery::nn
