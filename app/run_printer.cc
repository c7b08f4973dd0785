#include "app/run_printer.h"

#include <unistd.h>

#include <iomanip>
#include <iostream>
#include <sstream>
#include <utility>

namespace volery::app {
namespace {

constexpr size_t kShownCharacters = 70;

std::string Fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::optional<double> Find(const base::MetricRow& row, const char* name) {
  const auto found = row.find(name);
  return found == row.end() ? std::nullopt : std::optional(found->second);
}

// The end of a prompt (the question stands there) or the start of an answer, on one line.
std::string Shown(std::string text, bool end) {
  for (char& c : text) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  if (text.size() <= kShownCharacters) return text;
  const auto is_inside = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  size_t cut = end ? text.size() - kShownCharacters : kShownCharacters;
  while (cut < text.size() && is_inside(text[cut])) ++cut;
  return end ? "..." + text.substr(cut) : text.substr(0, cut) + "...";
}

// What is done now; empty while training, where the line's other parts say enough.
std::string Activity(const orchestration::LoopView& view) {
  using Phase = orchestration::LoopView::Phase;
  const std::string name = orchestration::PhaseName(view.phase);
  switch (view.phase) {
    case Phase::kWarmup:
      return Cat(name, ": ", view.warmup_steps, " steps", view.warmup_success ? ", solved " + Fixed(100 * *view.warmup_success, 0) + " %" : "");
    case Phase::kEvaluating:
      return Cat(name, " ", view.scored, "/", view.asked);
    case Phase::kWaitingForBatch:
      return Cat("groups ", view.scored, "/", view.asked, view.round > 0 ? Cat(" in refill ", view.round) : "");
    case Phase::kSaving:
      return name;
    case Phase::kTraining:
    case Phase::kDone:
      return "";
  }
  return "";
}

std::string WaitingSide(const base::MetricRow& row) {
  const auto sampler = Find(row, "sampler/idle"), trainer = Find(row, "trainer/idle");
  if (!sampler || !trainer) return "";
  return *sampler > *trainer ? "sampler" : "trainer";
}

}  // namespace

std::string ExampleLines(const orchestration::EvalResult& result) {
  std::string text;
  for (const orchestration::EvalExample& example : result.examples) {
    text += Cat("    ", Shown(example.prompt, true), "\n      -> ", Shown(example.completion, false), "   (reward ", Fixed(example.reward, 2), ")\n");
  }
  return text;
}

RunPrinter::RunPrinter(int64_t steps)
    : status_(STDERR_FILENO, observe::StatusLine::DetectMode(STDERR_FILENO), base::Clock::Real()), steps_(steps) {}

void RunPrinter::Line(const std::string& text) {
  status_.Clear();
  std::cerr << text << (text.ends_with('\n') ? "" : "\n");
}

void RunPrinter::OnView(const orchestration::LoopView& view) {
  observe::StatusView status;
  status.step = view.step;
  status.steps = view.steps;
  status.activity = Activity(view);
  status.reward = Find(view.last, "reward/mean");
  status.eval = view.last_eval;
  status.staleness = Find(view.last, "staleness/mean");
  status.tokens_per_s = Find(view.last, "tokens_per_s");
  status.waiting = WaitingSide(view.last);
  status.seconds_left = view.seconds_left;
  status_.Update(status);
}

void RunPrinter::OnStep(const orchestration::StepReport& report) {
  if (!report.note.empty()) Line(Cat("step ", report.step, ": no update: ", report.note));
  if (report.groups && !report.groups->failure.empty()) Line(Cat("step ", report.step, ": a reward failed: ", report.groups->failure));
}

void RunPrinter::OnEval(const orchestration::EvalResult& result) {
  Line(Cat("evaluation with version ", result.version, ": reward ", Fixed(result.average, 3), ", solved ", Fixed(100 * result.solved, 1), " % of ", result.samples,
           " samples of ", result.tasks, " held-out tasks", result.failed ? Cat(", ", result.failed, " rewards failed") : ""));
  if (!std::exchange(showed_examples_, true)) Line(ExampleLines(result));
}

void RunPrinter::Finish() { status_.Finish(); }

}  // namespace volery::app
