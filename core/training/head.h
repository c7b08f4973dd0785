#pragma once
// Head: log-probs and entropies of predicted tokens from hidden rows, and the way back, in slices of rows:
// logits are computed, used and dropped slice by slice, so that [rows x vocabulary] never stands in memory at
// once. Distribution of a row: softmax(logits[ids < vocabulary] / T), T the row's temperature; ids behind the
// tokenizer's have probability 0. Needs no autograd beyond model.Logits: gradients in the logits are written
// down directly,
//   dL/dz_j = 1/T [ sum_k g_k (1[j = y_k] - p_j) - g_H p_j (log p_j + H) ].
// The trainer's thread only. Throws what the model and LibTorch throw.

#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <vector>

#include "core/data/packing.h"
#include "volery/native/model.h"

namespace volery::training {

struct HeadOptions {
  int64_t vocabulary = 0;  // ids of the tokenizer; at most the model's
  int64_t slice_rows = 0;  // 0: chosen
};
// Rows of a slice: `asked`, or where that is 0 as many as make about 30 MiB of float32 logits.
int64_t HeadSliceRows(int64_t asked, int64_t vocabulary_rows);

// Called once a slice: which targets (indices into MicroBatch::targets), their l and H; writes dL/dl and
// dL/dH.
using TargetGradient = std::function<void(std::span<const int32_t> targets, std::span<const double> logprob,
                                          std::span<const double> entropy, std::span<double> gradient_logprob,
                                          std::span<double> gradient_entropy)>;

class Head {
 public:
  Head(native::Model& model, const HeadOptions& options);

  // l and H of every target (in the order of batch.targets). `hidden`: [batch.rows, W], no graph.
  // `likeliest`, where asked for: 1 where the target is its row's first largest logit.
  void Evaluate(const at::Tensor& hidden, const data::MicroBatch& batch, std::vector<double>& logprob,
                std::vector<double>& entropy, std::vector<uint8_t>* likeliest = nullptr) const;
  // Asks `gradient` slice by slice, adds to the .grad of the head's parameters, returns dL/dhidden [rows, W].
  // With l2wrap > 0, l2wrap x (the row's largest logit) is added to the gradient of that logit, as RWKV's
  // L2Wrap does with 1e-4 / tokens.
  at::Tensor Backward(const at::Tensor& hidden, const data::MicroBatch& batch, const TargetGradient& gradient,
                      double l2wrap = 0) const;

 private:
  native::Model& model_;
  const HeadOptions options_;
};

}  // namespace volery::training
