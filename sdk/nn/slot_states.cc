#include "volery/nn/slot_states.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/accumulate.h>

#include <stdexcept>

namespace volery::nn {

SlotStates::SlotStates(std::vector<StatePart> parts, at::Device device)
    : parts_(std::move(parts)), device_(device) {}

int64_t SlotStates::Bytes(const std::vector<StatePart>& parts) {
  int64_t total = 0;
  for (const StatePart& part : parts)
    total += c10::multiply_integers(part.shape) * static_cast<int64_t>(at::elementSize(part.dtype));
  return total;
}

const SlotStates::Slot& SlotStates::Used(int64_t slot) const {
  if (slot < 0 || slot >= static_cast<int64_t>(slots_.size()) || !slots_[slot].used)
    throw std::invalid_argument("slot " + std::to_string(slot) + " is not allocated");
  return slots_[slot];
}

int64_t SlotStates::Allocate() {
  size_t index = 0;
  while (index < slots_.size() && slots_[index].used) index++;
  if (index == slots_.size()) slots_.emplace_back();
  Slot slot;
  slot.used = true;
  // Ordinary tensors, which may be changed in and outside of inference mode.
  const c10::InferenceMode ordinary(false);
  for (const StatePart& part : parts_)
    slot.parts.push_back(at::zeros(part.shape, at::dtype(part.dtype).device(device_)));
  slots_[index] = std::move(slot);
  return static_cast<int64_t>(index);
}

int64_t SlotStates::Fork(int64_t slot) {
  Slot copy = Used(slot);
  const c10::InferenceMode ordinary(false);
  for (at::Tensor& part : copy.parts) part = part.clone();
  const int64_t made = Allocate();
  slots_[made] = std::move(copy);
  return made;
}

void SlotStates::Drop(int64_t slot) {
  Used(slot);
  slots_[slot] = Slot();
}
void SlotStates::Clear(int64_t slot) {
  Used(slot);
  const c10::InferenceMode ordinary(false);
  for (const at::Tensor& part : slots_[slot].parts) part.zero_();
  slots_[slot].length = 0;
}
int64_t SlotStates::Length(int64_t slot) const {
  return Used(slot).length;
}
void SlotStates::Grow(int64_t slot, int64_t tokens) {
  Used(slot);
  slots_[slot].length += tokens;
}

int64_t SlotStates::bytes() const {
  int64_t used = 0;
  for (const Slot& slot : slots_) used += slot.used;
  return used * Bytes(parts_);
}

const at::Tensor& SlotStates::Get(int64_t slot, size_t part) const {
  return Used(slot).parts.at(part);
}

}  // namespace volery::nn
