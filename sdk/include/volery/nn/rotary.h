#pragma once
// Rotary position embedding in the rotate-half form: frequencies of the scaling kinds that Qwen and Llama
// checkpoints name, tables of cosines and sines, and their application. The rotation runs in float32 for
// bfloat16 input and rounds once.
//
//   Rotary rotary(RotarySpec{.head_dim = 64, .theta = 1e5});
//   RotaryRows rows = rotary.Rows(positions, at::kFloat);
//   at::Tensor q2 = ApplyRotary(q, rows);                 // q [T, heads, head_dim]

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

struct RotarySpec {
  enum class Kind { kDefault, kLinear, kLlama3, kYarn };
  int64_t head_dim = 0;
  double theta = 10000;
  Kind kind = Kind::kDefault;
  double factor = 1;
  double original_context = 0;                       // llama3, yarn
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  double attention_factor = 0;                       // yarn; 0: from factor and the two below
  double mscale = 0, mscale_all_dim = 0;             // yarn
  bool truncate = true;                              // yarn
};

// Angles per position: head_dim / 2 values, rounded to float32 as the reference implementation holds them.
VOLERY_NN_EXPORT std::vector<float> InverseFrequencies(const RotarySpec& spec);
// What cosines and sines are multiplied by (yarn); 1 for the other kinds.
VOLERY_NN_EXPORT double AttentionFactor(const RotarySpec& spec);

// One row a token; [T, head_dim / 2], float32 (float64 when asked for).
struct RotaryRows {
  at::Tensor cos, sin;
};

// Tables grow as positions are asked for. Thread-safe.
class VOLERY_NN_EXPORT Rotary {
 public:
  explicit Rotary(const RotarySpec& spec);
  ~Rotary();
  // `positions` int64 [T], non-negative; rows on its device, float64 for dtype float64, else float32.
  RotaryRows Rows(const at::Tensor& positions, at::ScalarType dtype) const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

// x [T, heads, head_dim]; differentiable in x.
VOLERY_NN_EXPORT at::Tensor ApplyRotary(const at::Tensor& x, const RotaryRows& rows);
// For sampling, no autograd: rotates the first `heads` vectors of each row of `rows` [R, any] in place.
VOLERY_NN_EXPORT void ApplyRotaryInPlace(const at::Tensor& x, int64_t heads, int64_t head_dim,
                                         const RotaryRows& rows);

}  // namespace volery::nn
