#include "app/pretrain_printer.h"

#include <unistd.h>

#include <iostream>

namespace volery::app {

PretrainPrinter::PretrainPrinter(int64_t steps)
    : status_(STDERR_FILENO, observe::StatusLine::DetectMode(STDERR_FILENO), base::Clock::Real()), steps_(steps) {}

void PretrainPrinter::Line(const std::string& text) {
  status_.Clear();
  std::cerr << text << (text.ends_with('\n') ? "" : "\n");
}

void PretrainPrinter::OnView(const orchestration::PretrainView& view) {
  observe::StatusView status;
  status.step = view.step;
  status.steps = steps_;
  status.activity = view.activity;
  status.loss = view.loss;
  status.eval = view.validation_loss;
  status.tokens_per_s = view.tokens_per_s;
  status.seconds_left = view.seconds_left;
  status_.Update(status);
}

void PretrainPrinter::OnValidation(const orchestration::ValidationReport& report) {
  Line(Cat("validation with version ", report.step, ": loss ", report.loss, " over ", report.tokens, " tokens"));
}

void PretrainPrinter::Finish() { status_.Finish(); }

}  // namespace volery::app
