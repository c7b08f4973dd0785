#pragma once
// WeightVersion: an immutable set of named tensors, shared by pointer and freed when its last reader ends. Seen from
// here it is opaque bytes, so that the loop and the broadcast need no LibTorch; policy/ makes them.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "core/formats/dtype.h"

namespace volery::data {

struct TensorInfo {
  std::string name;
  formats::DType dtype;
  std::vector<int64_t> shape;
};

class WeightVersion {
 public:
  virtual ~WeightVersion() = default;
  virtual VersionId id() const = 0;
  virtual const std::vector<TensorInfo>& tensors() const = 0;      // fixed order
  virtual std::span<const std::byte> bytes(size_t tensor) const = 0;  // contiguous, row-major, host memory
};
using WeightVersionPtr = std::shared_ptr<const WeightVersion>;

}  // namespace volery::data
