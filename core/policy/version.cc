#include "core/policy/version.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <utility>

namespace volery::policy {
namespace {

using c10::ScalarType;
using formats::DType;

constexpr std::array<std::pair<DType, ScalarType>, 15> kTypes = {{
    {DType::kBool, ScalarType::Bool},
    {DType::kU8, ScalarType::Byte},
    {DType::kI8, ScalarType::Char},
    {DType::kF8E4m3, ScalarType::Float8_e4m3fn},
    {DType::kF8E5m2, ScalarType::Float8_e5m2},
    {DType::kU16, ScalarType::UInt16},
    {DType::kI16, ScalarType::Short},
    {DType::kF16, ScalarType::Half},
    {DType::kBf16, ScalarType::BFloat16},
    {DType::kU32, ScalarType::UInt32},
    {DType::kI32, ScalarType::Int},
    {DType::kF32, ScalarType::Float},
    {DType::kU64, ScalarType::UInt64},
    {DType::kI64, ScalarType::Long},
    {DType::kF64, ScalarType::Double},
}};

}  // namespace

std::optional<DType> DTypeOf(ScalarType type) {
  for (const auto& [dtype, scalar] : kTypes) {
    if (scalar == type) return dtype;
  }
  return std::nullopt;
}

std::optional<ScalarType> ScalarTypeOf(DType dtype) {
  for (const auto& [candidate, scalar] : kTypes) {
    if (candidate == dtype) return scalar;
  }
  return std::nullopt;
}

TensorVersion::TensorVersion(VersionId id, nn::NamedTensors named) : id_(id), named_(std::move(named)) {
  for (const auto& [name, tensor] : named_) {
    const std::optional<DType> dtype = DTypeOf(tensor.scalar_type());
    VOLERY_CHECK(dtype.has_value());
    VOLERY_CHECK(tensor.device().is_cpu() && tensor.is_contiguous() && !tensor.requires_grad());
    infos_.push_back({name, *dtype, tensor.sizes().vec()});
    bytes_.emplace_back(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
  }
}

std::span<const std::byte> TensorVersion::bytes(size_t tensor) const {
  VOLERY_CHECK(tensor < bytes_.size());
  return bytes_[tensor];
}

std::shared_ptr<const TensorVersion> MakeVersion(VersionId id, nn::NamedTensors named) {
  return std::make_shared<const TensorVersion>(id, std::move(named));
}

StatusOr<nn::NamedTensors> NamedTensorsOf(const data::WeightVersion& version) {
  if (const auto* own = dynamic_cast<const TensorVersion*>(&version)) return own->named();
  nn::NamedTensors result;
  for (size_t i = 0; i < version.tensors().size(); ++i) {
    const data::TensorInfo& info = version.tensors()[i];
    const std::optional<ScalarType> type = ScalarTypeOf(info.dtype);
    if (!type)
      return InvalidError("version ", version.id(), ": tensor ", info.name,
                          " has a type that LibTorch lacks");
    at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(*type));
    const std::span<const std::byte> bytes = version.bytes(i);
    if (bytes.size() != tensor.nbytes()) {
      return InvalidError("version ", version.id(), ": tensor ", info.name, " has ", bytes.size(),
                          " bytes, its shape needs ", tensor.nbytes());
    }
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    result.emplace(info.name, std::move(tensor));
  }
  return result;
}

}  // namespace volery::policy
