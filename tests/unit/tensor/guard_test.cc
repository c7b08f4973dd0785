#include "core/tensor/guard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "core/tensor/threads.h"

namespace volery::tensor {
namespace {

TEST(Guard, LibTorchErrorsBecomeAStatusWithoutAStack) {
  const auto result = Guard("adding", [] { return at::ones({2}) + at::ones({3}); });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kInternal);
  EXPECT_EQ(Message(result.status()).rfind("adding: The size of tensor a (2) must match", 0), 0u)
      << Message(result.status());
  EXPECT_EQ(Message(result.status()).find("Exception raised from"), std::string::npos);
}

TEST(Guard, ValuesAndStatusesPassThrough) {
  EXPECT_EQ(*Guard("x", [] { return 3; }), 3);
  EXPECT_TRUE(Guard("x", [] {}).ok());
  EXPECT_EQ(Message(Guard("x", [] { return NotFoundError("gone"); })), "gone");
  EXPECT_EQ(Message(Guard("x", []() -> StatusOr<int> { return NotFoundError("gone"); }).status()), "gone");
}

TEST(Guard, CodesSayWhoseFaultItWas) {
  EXPECT_EQ(Guard("x", [] { throw std::invalid_argument("bad"); }).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Guard("x", [] { throw std::bad_alloc(); }).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(Guard("x", [] { throw std::runtime_error("bad"); }).code(), StatusCode::kInternal);
  EXPECT_EQ(Guard("x", [] { throw 3; }).code(), StatusCode::kInternal);
  EXPECT_EQ(Guard("x", [] { at::empty({int64_t{1} << 50}); }).code(), StatusCode::kResourceExhausted);
}

TEST(Threads, TheNumberHoldsOnThisThread) {
  const int before = ComputeThreads();
  SetComputeThreads(1);
  EXPECT_EQ(ComputeThreads(), 1);
  SetComputeThreads(before);
}

}  // namespace
}  // namespace volery::tensor
