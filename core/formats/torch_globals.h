#pragma once
// The names that a pickle of tensors may hold, and what each stands for. Whatever isn't in this table is
// refused by the reader: nothing is ever looked up in a program or run.

#include <cstdint>
#include <optional>
#include <span>

#include "core/formats/dtype.h"

namespace volery::formats {

enum class TorchRole : uint8_t {
  kOrderedDict,
  kTensorV2,
  kTensorV3,
  kParameter,
  kSize,
  kStorageClass,
  kDType
};

struct TorchGlobal {
  const char* module;
  const char* name;
  TorchRole role;
  std::optional<DType> dtype;
};

std::span<const TorchGlobal> TorchGlobals();

// How torch names `dtype` in a pickle: by a storage class of its own ("FloatStorage"; then `dtype` is empty),
// or, for the newer types, beside an UntypedStorage ("uint16"; then `storage` is empty).
struct TorchTypeName {
  const char* storage;
  const char* dtype;
};
TorchTypeName TorchTypeNameOf(DType dtype);

}  // namespace volery::formats
