#pragma once
// The tensors of a model: names and shapes as the reference's checkpoints have them, optimiser groups and
// initial values. Order: embedding, blocks, final norm, head, key compression, as the reference lists them.

#include <string>
#include <vector>

#include "config.h"
#include "volery/native/model.h"

namespace volery::goldfinch {

// How the reference initialises a tensor.
enum class Initial {
  kZeros,
  kOnes,
  kConstant,    // `value`
  kUniform,     // in (-value, value)
  kOrthogonal,  // rows or columns orthogonal, of length `value`
  kMix,         // 1 - (e^power + 0.3 lift), e = j / width
  kDecay,       // -6 + 5 (n / (width - 1))^power
  kBonus,       // lift (1 - n / (width - 1)) + 0.1 ((n + 1) mod 3 - 1)
};

struct Parameter {
  native::TensorSpec spec;
  Initial initial = Initial::kZeros;
  double value = 0, power = 0, lift = 0;
};

std::vector<Parameter> ListParameters(const Config& config);
// A pure function of the seed. The tensor has the parameter's shape.
void Fill(const Parameter& parameter, at::Tensor& tensor, uint64_t seed);

// "blocks.<layer>.<rest>"
std::string BlockName(int64_t layer, const std::string& rest);
// Throws std::invalid_argument that names a tensor which is missing, has another shape or is none of the
// model's.
void CheckTensors(const native::NamedTensors& tensors, const std::vector<Parameter>& parameters);

}  // namespace volery::goldfinch
