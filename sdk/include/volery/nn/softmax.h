#pragma once
// Rows of logits: what a loss over a large vocabulary needs of a softmax without ever holding its
// probabilities. On a CPU one pass over a row in cache; on other devices, and in float64, LibTorch's
// operators.

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

// log of the sum of exp(z), and -sum of p log p, of one row.
struct RowSoftmax {
  double log_partition = 0, entropy = 0;
};

// Of z = logits[r][0 .. columns) / temperature[r]. logits [R, V] float32, bfloat16 or float64; temperature: R
// values, or none: all 1. A row with a NaN gives NaN.
VOLERY_NN_EXPORT std::vector<RowSoftmax> SoftmaxRows(const at::Tensor& logits, int64_t columns,
                                                     std::span<const float> temperature);

// What d(loss)/d(logits) of a row is made of, next to the entries of its targets.
struct RowGradient {
  double log_prob = 0;  // sum over the row's targets of d(loss)/d(log p[target])
  double entropy = 0;   // d(loss)/d(entropy)
};

// Turns logits into d(loss)/d(logits) but for the targets' own entries, in place:
// -p (g.log_prob + g.entropy (log p + entropy)) / temperature; columns beyond `columns` become 0. To be added
// by the caller at each target: d(loss)/d(log p[target]) / temperature.
VOLERY_NN_EXPORT void SoftmaxGradientInPlace(at::Tensor& logits, int64_t columns,
                                             std::span<const float> temperature,
                                             std::span<const RowSoftmax> rows,
                                             std::span<const RowGradient> gradients);

}  // namespace volery::nn
