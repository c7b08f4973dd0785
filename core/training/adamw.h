#pragma once
// AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization", with bias correction) over the
// flat buffers of a ParameterStore, and the global gradient norm. One fused pass over memory; results depend
// neither on the number of threads nor on how ranges are cut. The trainer's thread only.

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/training/parameters.h"

namespace volery::training {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  // of tensors whose spec asks for it
  bool fused = true;  // one pass over memory; false, and on other devices than CPU: tensor operations
};

// Square root of the sum of squares, summed in double in a fixed order; NaN or infinite where a value is.
double GlobalNorm(const at::Tensor& flat);

class AdamW {
 public:
  explicit AdamW(const ParameterStore& store);

  // One step: g = gradient_scale x gradients(); lr is multiplied by each range's lr_scale.
  void Step(ParameterStore& store, const AdamOptions& options, double lr, double gradient_scale);
  // Moments to zero, steps to 0.
  void Reset();

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  at::Tensor first_moment() const { return first_; }  // flat, of the masters' dtype
  at::Tensor second_moment() const { return second_; }

 private:
  at::Tensor first_, second_;
  int64_t steps_ = 0;
};

}  // namespace volery::training
