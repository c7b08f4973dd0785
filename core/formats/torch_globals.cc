#include "core/formats/torch_globals.h"

namespace volery::formats {
namespace {

constexpr TorchGlobal kGlobals[] = {
    {"collections", "OrderedDict", TorchRole::kOrderedDict, {}},
    {"torch._utils", "_rebuild_tensor_v2", TorchRole::kTensorV2, {}},
    {"torch._utils", "_rebuild_tensor_v3", TorchRole::kTensorV3, {}},
    {"torch._utils", "_rebuild_parameter", TorchRole::kParameter, {}},
    {"torch", "Size", TorchRole::kSize, {}},
    {"torch.storage", "UntypedStorage", TorchRole::kStorageClass, {}},
    {"torch", "DoubleStorage", TorchRole::kStorageClass, DType::kF64},
    {"torch", "FloatStorage", TorchRole::kStorageClass, DType::kF32},
    {"torch", "HalfStorage", TorchRole::kStorageClass, DType::kF16},
    {"torch", "BFloat16Storage", TorchRole::kStorageClass, DType::kBf16},
    {"torch", "LongStorage", TorchRole::kStorageClass, DType::kI64},
    {"torch", "IntStorage", TorchRole::kStorageClass, DType::kI32},
    {"torch", "ShortStorage", TorchRole::kStorageClass, DType::kI16},
    {"torch", "CharStorage", TorchRole::kStorageClass, DType::kI8},
    {"torch", "ByteStorage", TorchRole::kStorageClass, DType::kU8},
    {"torch", "BoolStorage", TorchRole::kStorageClass, DType::kBool},
    {"torch", "uint16", TorchRole::kDType, DType::kU16},
    {"torch", "uint32", TorchRole::kDType, DType::kU32},
    {"torch", "uint64", TorchRole::kDType, DType::kU64},
    {"torch", "float8_e4m3fn", TorchRole::kDType, DType::kF8E4m3},
    {"torch", "float8_e5m2", TorchRole::kDType, DType::kF8E5m2},
};

}  // namespace

std::span<const TorchGlobal> TorchGlobals() {
  return kGlobals;
}

TorchTypeName TorchTypeNameOf(DType dtype) {
  TorchTypeName name = {"", ""};
  for (const TorchGlobal& known : kGlobals) {
    if (known.dtype == dtype) (known.role == TorchRole::kDType ? name.dtype : name.storage) = known.name;
  }
  return name;
}

}  // namespace volery::formats
