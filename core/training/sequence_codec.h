#pragma once
// TrainSequences as bytes, for sending a batch to other ranks of the same build. Not a storage format.

#include <span>
#include <string>
#include <vector>

#include "core/data/packing.h"

namespace volery::training {

std::string EncodeSequences(std::span<const data::TrainSequence> sequences);
// Error: bytes that EncodeSequences didn't make (truncated, counts that don't fit).
StatusOr<std::vector<data::TrainSequence>> DecodeSequences(const std::string& bytes);

}  // namespace volery::training
