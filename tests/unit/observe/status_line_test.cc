#include "core/observe/status_line.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmath>

namespace volery::observe {
namespace {

StatusView Full() {
  return {.step = 12,
          .steps = 25,
          .reward = 0.4375,
          .eval = 0.5,
          .staleness = 1.0,
          .tokens_per_s = 1234.6,
          .waiting = "sampler",
          .seconds_left = 200};
}

TEST(StatusLine, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(FormatStatusLine(Full(), 200),
            "step 12/25 | reward 0.438 | eval 0.500 | stale 1.0 | 1235 tok/s | sampler waits | 3m20s left");
  EXPECT_EQ(FormatStatusLine({.step = 0, .steps = 25}, 80), "step 0/25");
  EXPECT_EQ(FormatStatusLine({.step = 0, .steps = 25, .activity = "evaluating 3/64"}, 80), "step 0/25 | evaluating 3/64");
}

TEST(StatusLine, LeavesOutTheLeastImportantAndNeverExceedsTheWidth) {
  EXPECT_EQ(FormatStatusLine(Full(), 80),
            "step 12/25 | reward 0.438 | eval 0.500 | 1235 tok/s | sampler waits | 3m20s left");
  EXPECT_EQ(FormatStatusLine(Full(), 65), "step 12/25 | reward 0.438 | eval 0.500 | 1235 tok/s | 3m20s left");
  EXPECT_EQ(FormatStatusLine(Full(), 40), "step 12/25 | reward 0.438 | 3m20s left");
  EXPECT_EQ(FormatStatusLine(Full(), 30), "step 12/25 | reward 0.438");
  EXPECT_EQ(FormatStatusLine(Full(), 7), "step 12");
  for (int width = -1; width < 120; ++width) {
    EXPECT_LE(FormatStatusLine(Full(), width).size(), static_cast<size_t>(std::max(width, 0)));
  }
}

TEST(StatusLine, Durations) {
  EXPECT_EQ(FormatDuration(0), "0s");
  EXPECT_EQ(FormatDuration(59.4), "59s");
  EXPECT_EQ(FormatDuration(59.6), "1m00s");
  EXPECT_EQ(FormatDuration(7500), "2h05m");
  EXPECT_EQ(FormatDuration(4 * 86400 + 3 * 3600), "4d03h");
  EXPECT_EQ(FormatDuration(-1), "?");
  EXPECT_EQ(FormatDuration(std::nan("")), "?");
}

// A pipe, read back in full.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe(fds_), 0); }
  ~Pipe() { close(fds_[0]); }
  int fd() const { return fds_[1]; }
  std::string Text() {
    close(fds_[1]);
    std::string text(1 << 16, '\0');
    const ssize_t size = read(fds_[0], text.data(), text.size());
    return text.substr(0, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  }

 private:
  int fds_[2];
};

TEST(StatusLine, PlainPrintsOneLineAStep) {
  base::FakeClock clock;
  Pipe pipe;
  StatusLine line(pipe.fd(), StatusLine::Mode::kPlain, clock);
  line.Update({.step = 1, .steps = 2, .reward = 0.25});
  line.Update({.step = 1, .steps = 2, .reward = 0.25});
  line.Clear();
  line.Update({.step = 2, .steps = 2, .reward = 0.5});
  line.Finish();
  EXPECT_EQ(pipe.Text(), "step 1/2 | reward 0.250\nstep 2/2 | reward 0.500\n");
}

TEST(StatusLine, LiveRedrawsOneLineAtABoundedRate) {
  base::FakeClock clock;
  Pipe pipe;
  StatusLine line(pipe.fd(), StatusLine::Mode::kLive, clock);
  const std::string wipe = "\r\x1b[2K";
  line.Update({.step = 1, .steps = 9, .tokens_per_s = 10});
  line.Update({.step = 1, .steps = 9, .tokens_per_s = 11});  // too soon
  clock.AdvanceMs(100);
  line.Update({.step = 1, .steps = 9, .tokens_per_s = 12});
  line.Update({.step = 2, .steps = 9, .tokens_per_s = 13});
  line.Clear();
  line.Update({.step = 2, .steps = 9, .tokens_per_s = 20000});
  line.Finish();
  line.Finish();
  EXPECT_EQ(pipe.Text(), wipe + "step 1/9 | 10 tok/s\r" + wipe + "step 1/9 | 12 tok/s\r" + wipe +
                             "step 2/9 | 13 tok/s\r" + wipe + wipe + "step 2/9 | 20.0k tok/s\r" + wipe +
                             "step 2/9 | 20.0k tok/s\n");
}

TEST(StatusLine, PipesAndDumbTerminalsArePlain) {
  Pipe pipe;
  setenv("TERM", "xterm", 1);
  EXPECT_EQ(StatusLine::DetectMode(pipe.fd()), StatusLine::Mode::kPlain);
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(master, 0);
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  EXPECT_EQ(StatusLine::DetectMode(terminal), StatusLine::Mode::kLive);
  setenv("TERM", "dumb", 1);
  EXPECT_EQ(StatusLine::DetectMode(terminal), StatusLine::Mode::kPlain);
  unsetenv("TERM");
  EXPECT_EQ(StatusLine::DetectMode(terminal), StatusLine::Mode::kPlain);
  close(terminal);
  close(master);
}

}  // namespace
}  // namespace volery::observe
