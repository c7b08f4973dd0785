#include "core/observe/status_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace volery::observe {
namespace {

constexpr int kPlainWidth = 200;
constexpr int kDefaultWidth = 80;
constexpr int64_t kRedrawMs = 100;
constexpr char kWipe[] = "\r\x1b[2K";

template <class... Args>
std::string Print(const char* format, Args... args) {
  char text[64];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

std::string FormatRate(double rate) {
  if (rate >= 1e6) return Print("%.1fM tok/s", rate * 1e-6);
  if (rate >= 1e4) return Print("%.1fk tok/s", rate * 1e-3);
  return Print("%.0f tok/s", rate);
}

struct Part {
  int rank;  // the highest rank is left out first
  std::string text;
};

std::vector<Part> Parts(const StatusView& view) {
  const std::string step = Cat("step ", view.step, "/", view.steps);
  std::vector<Part> parts = {{0, step}};
  if (!view.activity.empty()) parts.push_back({7, view.activity});
  if (view.reward) parts.push_back({1, Print("reward %.3f", *view.reward)});
  if (view.loss) parts.push_back({1, Print("loss %.4f", *view.loss)});
  if (view.eval) parts.push_back({3, Print("eval %.3f", *view.eval)});
  if (view.staleness) parts.push_back({6, Print("stale %.1f", *view.staleness)});
  if (view.tokens_per_s) parts.push_back({4, FormatRate(*view.tokens_per_s)});
  if (!view.waiting.empty()) parts.push_back({5, view.waiting + " waits"});
  if (view.seconds_left) parts.push_back({2, FormatDuration(*view.seconds_left) + " left"});
  return parts;
}

std::string Join(const std::vector<Part>& parts) {
  std::string line;
  for (const Part& part : parts) line += (line.empty() ? "" : " | ") + part.text;
  return line;
}

}  // namespace

std::string FormatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const int64_t s = std::llround(seconds);
  if (s < 60) return Cat(s, "s");
  if (s < 3600) return Print("%dm%02ds", static_cast<int>(s / 60), static_cast<int>(s % 60));
  if (s < 86400) return Print("%dh%02dm", static_cast<int>(s / 3600), static_cast<int>(s / 60 % 60));
  return Print("%dd%02dh", static_cast<int>(s / 86400), static_cast<int>(s / 3600 % 24));
}

std::string FormatStatusLine(const StatusView& view, int width) {
  std::vector<Part> parts = Parts(view);
  const size_t room = static_cast<size_t>(std::max(width, 0));
  while (parts.size() > 1 && Join(parts).size() > room) {
    parts.erase(std::max_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.rank < b.rank; }));
  }
  return Join(parts).substr(0, room);
}

StatusLine::Mode StatusLine::DetectMode(int fd) {
  const char* term = std::getenv("TERM");
  const bool capable = term != nullptr && *term != '\0' && std::strcmp(term, "dumb") != 0;
  return capable && isatty(fd) != 0 ? Mode::kLive : Mode::kPlain;
}

void StatusLine::Update(const StatusView& view) {
  const bool new_step = last_step_ != view.step;
  const int64_t now = clock_.NowMs();
  if (mode_ == Mode::kPlain) {
    StatusView plain = view;
    plain.activity.clear();
    if (new_step) Put(FormatStatusLine(plain, kPlainWidth) + "\n");
  } else if (new_step || !visible_ || now - drawn_ms_ >= kRedrawMs) {
    // One column stays free: a line as wide as the terminal would wrap on some. The cursor goes back to the
    // first column.
    drawn_ = FormatStatusLine(view, Width() - 1);
    Put(kWipe + drawn_ + "\r");
    drawn_ms_ = now;
    visible_ = true;
  }
  last_step_ = view.step;
}

void StatusLine::Clear() {
  if (visible_) Put(kWipe);
  visible_ = false;
}

void StatusLine::Finish() {
  if (mode_ == Mode::kLive && !drawn_.empty()) Put(kWipe + drawn_ + "\n");
  drawn_.clear();
  visible_ = false;
}

int StatusLine::Width() const {
  winsize size{};
  return ioctl(fd_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultWidth;
}

// Drawing is best effort: a terminal that went away must not end the run.
void StatusLine::Put(const std::string& text) const {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    done += static_cast<size_t>(written);
  }
}

}  // namespace volery::observe
