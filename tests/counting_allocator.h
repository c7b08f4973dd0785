#pragma once
// Counts the tensors that are allocated on the CPU while it lives, and the bytes that are still held of them.
// One at a time.

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdint>
#include <memory>

namespace volery::testing {

class CountingAllocator final : public c10::Allocator {
 public:
  CountingAllocator() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }
  ~CountingAllocator() override { c10::SetCPUAllocator(inner_, kPriority); }
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes > 0) count++;
    *live += static_cast<int64_t>(bytes);
    auto* block = new Block{inner_->allocate(bytes), static_cast<int64_t>(bytes), live};
    return {block->memory.get(), block, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    inner_->copy_data(to, from, bytes);
  }
  int64_t count = 0;
  std::shared_ptr<std::atomic<int64_t>> live = std::make_shared<std::atomic<int64_t>>(0);

 private:
  struct Block {
    c10::DataPtr memory;
    int64_t bytes;
    std::shared_ptr<std::atomic<int64_t>> live;
  };
  static void Free(void* context) {
    auto* block = static_cast<Block*>(context);
    *block->live -= block->bytes;
    delete block;
  }
  static constexpr uint8_t kPriority = 1;
  c10::Allocator* inner_;
};

}  // namespace volery::testing
