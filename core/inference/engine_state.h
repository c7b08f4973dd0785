#pragma once
// The engine's own records: requests, sequences and the plan of one step. Private to
// core/inference/engine*.cc.

#include <ATen/core/Tensor.h>

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "core/inference/engine.h"

namespace volery::inference {

struct SlotEngine::Prepared : data::PreparedVersion {
  Prepared(VersionId version, std::shared_ptr<const native::PreparedWeights> packed)
      : version(version), weights(std::move(packed)) {}
  VersionId id() const override { return version; }
  VersionId version;
  std::shared_ptr<const native::PreparedWeights> weights;
};

// A prompt with samples that haven't started. It is open while it holds a slot: the prompt's, which the last
// sample takes over. Every other sample needs one more slot, which is reserved before the sample is forked.
struct SlotEngine::Request {
  std::vector<int32_t> prompt;
  std::deque<int64_t> pending;  // sequence ids, in the order of samples
  int64_t longest = 0;          // tokens at which a sample ends for length
  int64_t bytes = 0;            // of one slot at that length
  int64_t slot = -1;
  int64_t reserved = 0;  // slots for forks, at most pending.size() - 1
  bool give_prompt_slot =
      false;  // the next sample takes the prompt's slot; the prompt is read again for those after it
  int64_t reread_until = 0;  // tokens that older weights had read
  at::Tensor row;            // [1, W] the prompt's last row, once read
};

struct SlotEngine::Sequence {
  data::SequenceId id;
  GroupId group;
  int32_t sample = 0;
  data::SamplingParams params;
  std::shared_ptr<Request> request;  // until it starts
  std::vector<int32_t> tokens;
  std::vector<data::Span> spans;
  int64_t slot = -1;
  int64_t bytes = 0;
  int64_t longest = 0;         // tokens at which it ends for length
  VersionId oldest_state{-1};  // of what the slot holds; -1: it is empty
  int64_t reread_until = 0;    // tokens that were read before and cleared
  bool live = false;
  bool keep = false;
  float temperature = 1;
  text::StopMatcher stop_texts;

  void Use(const data::SamplingParams& next) {
    params = next;
    stop_texts = text::StopMatcher(params.stop_rules);
  }
};

// A slot with unread tokens: a sequence's, or a request's prompt.
struct SlotEngine::Reading {
  Sequence* sequence = nullptr;
  Request* request = nullptr;
  int64_t slot = -1;
  const std::vector<int32_t>* tokens = nullptr;
  int64_t begin = 0, end = 0, reread_until = 0;
  bool last() const { return end == static_cast<int64_t>(tokens->size()); }
};

struct SlotEngine::Plan {
  std::vector<Reading> readings;
  std::vector<at::Tensor> rows;                        // hidden rows for the head, [1, W] each
  std::vector<std::pair<Sequence*, int64_t>> samples;  // who samples from which row; rows ascend
};

}  // namespace volery::inference
