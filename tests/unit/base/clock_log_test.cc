#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/base/files.h"
#include "core/base/log.h"

namespace volery::base {
namespace {

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock;
  const int64_t start = clock.NowMs();
  EXPECT_EQ(clock.NowMs(), start);
  clock.AdvanceMs(1500);
  EXPECT_EQ(clock.NowMs(), start + 1500);
  EXPECT_DOUBLE_EQ(clock.NowSeconds(), static_cast<double>(start + 1500) / 1000);
}

TEST(RealClock, NeverGoesBackAndKnowsTheDate) {
  const int64_t first = Clock::Real().NowMs();
  EXPECT_GE(Clock::Real().NowMs(), first);
  EXPECT_GT(Clock::Real().UnixSeconds(), 1.7e9);
}

TEST(Log, TheFileGetsEveryLevelAndTextAsItIs) {
  TemporaryFolder folder;
  ASSERT_TRUE(AddLogFile(folder.File("run.log")).ok());
  LogDebug("step ", 3, ": {not a format}");
  CloseLogFile();
  LogDebug("after the end");
  const std::string text = *ReadFile(folder.File("run.log"));
  EXPECT_NE(text.find("debug"), std::string::npos);
  EXPECT_NE(text.find("step 3: {not a format}\n"), std::string::npos);
  EXPECT_EQ(text.find("after the end"), std::string::npos);
}

TEST(Log, AFileThatCannotBeOpenedIsAnError) {
  TemporaryFolder folder;
  EXPECT_EQ(AddLogFile(folder.path()).code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace volery::base
