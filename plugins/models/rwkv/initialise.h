#pragma once
// Initial weights as the original training code makes them (RWKV-LM, x052 and x060; arXiv 2404.05892, appendix
// on initialisation).

#include <cstdint>

#include "config.h"
#include "volery/native/model.h"

namespace volery::rwkv {

// Fills all tensors of the model; a pure function of the seed.
void Initialise(const Config& config, native::NamedTensors& parameters, uint64_t seed);

}  // namespace volery::rwkv
