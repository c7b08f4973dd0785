#pragma once
// ParameterStore: the trainer's weights and gradients in flat buffers. Tensors that the model is bound to are
// views into one buffer, their .grad views into another, so the optimiser and the collectives see plain
// ranges. Masters and gradients are float32 (float64 for a float64 model); a bfloat16 model computes with a
// cast copy of the masters. Frozen tensors stand beside: no gradient, no place in the buffers, so no
// optimiser state either. The trainer's thread only.

#include <ATen/core/Tensor.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "volery/native/model.h"

namespace volery::training {

struct ParameterRange {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0, count = 0;  // elements of the flat buffers
  bool weight_decay = true;
  double lr_scale = 1;
};

class ParameterStore {
 public:
  // Copies `initial` (any float type, any device). Errors: a tensor missing, of another shape or unknown to
  // the model; a dtype other than float32, float64 and bfloat16.
  static StatusOr<std::unique_ptr<ParameterStore>> Create(const std::vector<native::TensorSpec>& specs,
                                                          const native::NamedTensors& initial,
                                                          at::ScalarType compute, at::Device device,
                                                          const std::set<std::string>& frozen = {});

  // Of what trains.
  const std::vector<ParameterRange>& ranges() const { return ranges_; }
  const native::NamedTensors& bound() const { return bound_; }  // leaves for Model::Bind
  at::Tensor masters() const { return masters_; }               // flat
  at::Tensor gradients() const { return gradients_; }           // flat, of the masters' dtype

  void ZeroGradients();
  // After masters() changed: renews the cast copy of a bfloat16 model.
  void PublishMasters();
  // Swaps masters() with `other` (flat, same dtype), and publishes. Twice is the identity.
  void SwapMasters(at::Tensor& other);
  // The range's part of a flat tensor, in its shape; shares memory.
  static at::Tensor View(const at::Tensor& flat, const ParameterRange& range);
  // All tensors, frozen ones too: the masters as they are, float32 on the CPU; shares their memory where they
  // are that already.
  native::NamedTensors Current() const;
  // A deep copy of the same on the CPU.
  native::NamedTensors Copy(at::ScalarType dtype) const;

 private:
  ParameterStore() = default;
  void MakeLeaves(at::ScalarType compute);
  void Freeze(const std::string& name, const at::Tensor& value, at::ScalarType compute, at::Device device);

  std::vector<ParameterRange> ranges_;
  at::Tensor masters_, gradients_;
  at::Tensor cast_;              // bfloat16 only
  native::NamedTensors frozen_;  // of the masters' dtype
  native::NamedTensors bound_;
};

}  // namespace volery::training
