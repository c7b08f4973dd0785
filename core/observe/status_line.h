#pragma once
// The live status line of a run: on a terminal one line that is redrawn, else (piped, TERM=dumb) one plain
// line a step.
//
//   StatusLine line(STDERR_FILENO, StatusLine::DetectMode(STDERR_FILENO), base::Clock::Real());
//   line.Update({.step = 3, .steps = 25, .reward = 0.41, ...});
//   line.Finish();

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/clock.h"
#include "core/base/status.h"

namespace volery::observe {

// What stands in the line; what isn't known yet is left out.
struct StatusView {
  int64_t step = 0;                                // steps done
  int64_t steps = 0;                               // of the whole run
  std::string activity = {};                       // what is done now, e.g. "evaluating 12/64"; live only
  std::optional<double> reward = std::nullopt;     // mean of the last step
  std::optional<double> loss = std::nullopt;       // of the last step of supervised training
  std::optional<double> eval = std::nullopt;       // last evaluation
  std::optional<double> staleness = std::nullopt;  // mean of the last step's batch
  std::optional<double> tokens_per_s = std::nullopt;
  std::string waiting = {};  // the side that waits: "sampler", "trainer", or empty
  std::optional<double> seconds_left = std::nullopt;
};

// One line of at most `width` columns, without a newline. Where it doesn't fit, parts are left out: the
// activity first, then staleness, which side waits, tokens/s, the evaluation, the time left, the reward or
// loss; the step comes last and is cut.
std::string FormatStatusLine(const StatusView& view, int width);

// "42s", "3m20s", "2h05m", "4d03h"; "?" for a negative or not finite time.
std::string FormatDuration(double seconds);

// All functions are for one thread.
class StatusLine {
 public:
  enum class Mode { kPlain, kLive };
  // Live if the descriptor is a terminal and TERM is set and isn't "dumb".
  static Mode DetectMode(int fd);

  // Writes to `fd`, which stays open. `clock` must outlive the line.
  StatusLine(int fd, Mode mode, const base::Clock& clock) : fd_(fd), mode_(mode), clock_(clock) {}

  // Live: redraws, at most ten times a second but for a new step. Plain: prints a line if the step is a new
  // one.
  void Update(const StatusView& view);
  // Live: wipes the line, so that other text can be written; the next Update draws it again. Plain: nothing.
  void Clear();
  // Live: leaves the last state standing and ends its line.
  void Finish();

 private:
  int Width() const;
  void Put(const std::string& text) const;

  const int fd_;
  const Mode mode_;
  const base::Clock& clock_;
  std::string drawn_;  // text of the last Update; live only
  std::optional<int64_t> last_step_;
  int64_t drawn_ms_ = 0;
  bool visible_ = false;
};

}  // namespace volery::observe
