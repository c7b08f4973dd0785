#include "core/training/forward_pass.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <stdexcept>

namespace volery::training {
namespace {

native::Batch ToNative(const data::MicroBatch& batch, at::Device device, SegmentStates states) {
  native::Batch out;
  out.tokens = at::tensor(batch.tokens, at::kInt).to(device, at::kLong);
  out.positions = at::tensor(batch.positions, at::kLong).to(device);
  for (const data::PackedSegment& segment : batch.segments)
    out.segments.push_back({segment.begin, segment.end, segment.parent});
  out.initial = std::move(states.initial);
  out.keep_final = states.keep_final;
  return out;
}

}  // namespace

ForwardPass::ForwardPass(native::Model& model, const data::MicroBatch& batch, Recording recording,
                         at::Device device, SegmentStates states)
    : model_(model),
      recording_(recording),
      batch_(ToNative(batch, device, std::move(states))),
      rows_(at::tensor(batch.rows, at::kLong).to(device)),
      context_(model.Begin(batch_)) {
  const at::AutoGradMode mode(recording == Recording::kGraph);
  hidden_ = model_.Final(Rows(RunBlocks()));
}

at::Tensor ForwardPass::RunBlocks() {
  at::Tensor x = model_.Embed(batch_, *context_);
  for (int64_t block = 0; block < model_.blocks(); ++block) {
    if (recording_ == Recording::kCheckpoint) inputs_.push_back(x);
    x = model_.Block(block, x, *context_);
  }
  if (recording_ == Recording::kCheckpoint) inputs_.push_back(x);
  return x;
}

at::Tensor ForwardPass::Rows(const at::Tensor& x) const {
  return x.index_select(0, rows_);
}

at::Tensor ForwardPass::FinalState(int64_t segment) const {
  at::Tensor state = context_->FinalState(segment);
  if (!state.defined())
    throw std::logic_error("the model says that it is recurrent but gives no final state");
  return state;
}

void ForwardPass::Backward(const at::Tensor& gradient) {
  VOLERY_CHECK(recording_ != Recording::kNone);
  if (recording_ == Recording::kGraph) {
    if (hidden_.requires_grad()) torch::autograd::backward({hidden_}, {gradient});
  } else {
    BackwardBlockByBlock(gradient);
  }
  hidden_ = at::Tensor();
}

void ForwardPass::BackwardBlockByBlock(const at::Tensor& gradient) {
  const at::AutoGradMode mode(true);
  auto take_input = [&] {
    at::Tensor input = inputs_.back().detach().requires_grad_();
    inputs_.pop_back();
    return input;
  };
  at::Tensor input = take_input();
  torch::autograd::backward({model_.Final(Rows(input))}, {gradient});
  for (int64_t block = model_.blocks() - 1; block >= 0; --block) {
    const at::Tensor above = input.grad();
    input = take_input();
    torch::autograd::backward({model_.Block(block, input, *context_)}, {above});
  }
  if (const at::Tensor embedded = model_.Embed(batch_, *context_); embedded.requires_grad())
    torch::autograd::backward({embedded}, {input.grad()});
}

}  // namespace volery::training
