#pragma once
// ForwardPass: one micro-batch through a model's blocks, and back. With kCheckpoint only the input of each
// block is kept and the block is computed again on the way back: memory of one block instead of all of them,
// for one more forward. The gradients are the same. The trainer's thread only. Throws what the model and
// LibTorch throw.

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "core/data/packing.h"
#include "volery/native/model.h"

namespace volery::training {

// Of a recurrent model, by segment: what it goes on from (undefined: the start of a text), and whether
// FinalState will be asked for.
struct SegmentStates {
  std::vector<at::Tensor> initial;
  bool keep_final = false;
};

enum class Recording : uint8_t {
  kNone,        // no gradients
  kGraph,       // autograd keeps everything
  kCheckpoint,  // recompute block by block
};

class ForwardPass {
 public:
  ForwardPass(native::Model& model, const data::MicroBatch& batch, Recording recording, at::Device device,
              SegmentStates states = {});

  // What the head reads for batch.rows: [rows, W], without a graph.
  at::Tensor hidden() const { return hidden_.detach(); }
  // What a segment leaves behind; throws where the model doesn't say.
  at::Tensor FinalState(int64_t segment) const;
  // Adds to the .grad of every parameter below the head. `gradient`: dL/dhidden. Once, not after kNone. Does
  // nothing where all of those are frozen.
  void Backward(const at::Tensor& gradient);

 private:
  at::Tensor RunBlocks();
  at::Tensor Rows(const at::Tensor& x) const;
  void BackwardBlockByBlock(const at::Tensor& gradient);

  native::Model& model_;
  const Recording recording_;
  native::Batch batch_;
  at::Tensor rows_;
  std::unique_ptr<native::TrainContext> context_;
  std::vector<at::Tensor> inputs_;  // kCheckpoint: of each block, then of the final norm
  at::Tensor hidden_;
};

}  // namespace volery::training
