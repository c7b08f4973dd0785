#pragma once
// Log-probs of given tokens by the training path of a model, without gradients: what `volery score` prints
// and what the sampling path is compared with. The head runs in slices of rows, so that full logits stand in
// memory only when asked for.
//
//   VOLERY_ASSIGN_OR_RETURN(auto scores, ScoreTokens(model, {{1, 5, 9}}, {}));   // scores[0].logprobs: of 5
//   and of 9

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "core/base/status.h"
#include "volery/native/model.h"

namespace volery::inference {

struct ScoreOptions {
  int64_t vocabulary = 0;       // ids from here on are masked; 0: none are (raw logits)
  float temperature = 1;        // > 0
  int64_t batch_tokens = 2048;  // tokens of one forward pass; a longer sequence gets a pass of its own
  int64_t slice_rows = 128;     // rows of logits that stand in memory at once
  c10::Device device = c10::Device(c10::DeviceType::CPU);  // that the model was built for
  bool logits = false;  // also return the logits as they are, without mask and temperature
};

struct TokenScores {
  std::vector<float> logprobs;  // one a token after the first
  at::Tensor logits;            // [tokens, rows of the head] float32 on the CPU, where asked for
};

// One entry a sequence, in order; an empty sequence gets an empty entry. `model` must be bound to its
// parameters. One thread (the one that trains). Errors: token ids outside the vocabulary or the mask, a
// sequence longer than the context.
StatusOr<std::vector<TokenScores>> ScoreTokens(native::Model& model,
                                               const std::vector<std::vector<int32_t>>& sequences,
                                               const ScoreOptions& options);

}  // namespace volery::inference
