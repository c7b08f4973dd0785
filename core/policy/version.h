#pragma once
// Weight versions over LibTorch tensors: TensorVersion is the data::WeightVersion that trainers make and
// engines read, and the two directions between stored element types and LibTorch's. Versions are immutable,
// so everything here is thread-safe.
//
//   std::shared_ptr<const TensorVersion> v = MakeVersion(VersionId(3), std::move(clones));
//   VOLERY_ASSIGN_OR_RETURN(nn::NamedTensors tensors, NamedTensorsOf(*v));

#include <c10/core/ScalarType.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/base/status.h"
#include "core/data/weights.h"
#include "volery/nn/linear.h"

namespace volery::policy {

// Tensors in the order of their names; bytes(i) are those of tensors()[i].
class TensorVersion : public data::WeightVersion {
 public:
  TensorVersion(VersionId id, nn::NamedTensors named);

  VersionId id() const override { return id_; }
  const std::vector<data::TensorInfo>& tensors() const override { return infos_; }
  std::span<const std::byte> bytes(size_t tensor) const override;
  const nn::NamedTensors& named() const { return named_; }

 private:
  const VersionId id_;
  const nn::NamedTensors named_;
  std::vector<data::TensorInfo> infos_;
  std::vector<std::span<const std::byte>> bytes_;
};

// Takes ownership: nobody may write these tensors afterwards. CHECK-fails unless every one is a contiguous
// CPU tensor without a gradient graph (make it with .detach().clone() or .to("cpu")).
std::shared_ptr<const TensorVersion> MakeVersion(VersionId id, nn::NamedTensors named);

// The tensors of any version: those of a TensorVersion as they are (shared, not to be written), of others a
// copy.
StatusOr<nn::NamedTensors> NamedTensorsOf(const data::WeightVersion& version);

// Nothing for a type that the other side doesn't have (complex numbers, quantised tensors ...).
std::optional<formats::DType> DTypeOf(c10::ScalarType type);
std::optional<c10::ScalarType> ScalarTypeOf(formats::DType dtype);

}  // namespace volery::policy
