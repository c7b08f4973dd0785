#pragma once
// Decode slots whose state has one size whatever was read: recurrent states and shift rows. Not thread-safe.
//
//   SlotStates states({{"wkv", {layers, heads, n, n}, at::kFloat}, {"shift", {2 * layers, width}, dtype}}, device);
//   int64_t slot = states.Allocate();
//   at::Tensor wkv = states.Get(slot, 0);        // its memory: updated in place

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "volery/nn/export.h"

namespace volery::nn {

struct StatePart {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;
};

class VOLERY_NN_EXPORT SlotStates {
 public:
  SlotStates(std::vector<StatePart> parts, at::Device device);
  static int64_t Bytes(const std::vector<StatePart>& parts);

  int64_t Allocate();          // zeros, length 0
  int64_t Fork(int64_t slot);  // a copy
  void Drop(int64_t slot);
  void Clear(int64_t slot);  // back to zeros
  int64_t Length(int64_t slot) const;
  void Grow(int64_t slot, int64_t tokens);  // after a call has read them
  int64_t bytes() const;                    // of all slots in use
  // Part `part` of a slot, contiguous. Throws std::invalid_argument for a slot that isn't allocated.
  const at::Tensor& Get(int64_t slot, size_t part) const;

 private:
  struct Slot {
    bool used = false;
    int64_t length = 0;
    std::vector<at::Tensor> parts;
  };
  const Slot& Used(int64_t slot) const;
  std::vector<StatePart> parts_;
  at::Device device_;
  std::vector<Slot> slots_;
};

}  // namespace volery::nn
