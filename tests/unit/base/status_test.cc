#include "core/base/status.h"

#include <gtest/gtest.h>

namespace volery {
namespace {

StatusOr<int> Half(int value) {
  if (value % 2) return InvalidError(value, " is odd; pass an even number");
  return value / 2;
}

StatusOr<int> Quarter(int value) {
  VOLERY_ASSIGN_OR_RETURN(int half, Half(value));
  return Half(half);
}

TEST(Status, PropagatesTheFirstErrorAndKeepsItsCode) {
  EXPECT_EQ(*Quarter(12), 3);
  StatusOr<int> bad = Quarter(6);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(Message(bad.status()), "3 is odd; pass an even number");
  EXPECT_TRUE(IsInputError(bad.status()));
}

TEST(Status, AnnotateKeepsTheCodeAndPutsTheContextInFront) {
  const Status status = Annotate(NotFoundError("no such file"), "recipe.toml:", 3);
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(Message(status), "recipe.toml:3: no such file");
  EXPECT_TRUE(Annotate(OkStatus(), "context").ok());
}

TEST(Status, FailuresAtWorkAreNotInputErrors) {
  EXPECT_FALSE(IsInputError(InternalError("broken")));
  EXPECT_FALSE(IsInputError(DataLossError("short read")));
}

}  // namespace
}  // namespace volery
