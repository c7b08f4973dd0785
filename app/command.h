#pragma once
// What a subcommand is to main.cc: it declares its options and returns what to run. Exit codes (DESIGN section 8): 0 done;
// 2 wrong input found before the first step; 1 a failure afterwards; 130 stopped by Ctrl-C.

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

#include "core/base/status.h"

namespace volery::app {

inline constexpr int kExitDone = 0, kExitFailure = 1, kExitInput = 2, kExitInterrupted = 130;

// The exit code of a status after printing it to standard error. `started`: work had begun, so wrong input no longer
// counts as such.
int Report(const Status& status, bool started = false);

// Adds the subcommand to `app`; the returned function runs it after parsing and gives the exit code.
struct Command {
  CLI::App* parser = nullptr;
  std::function<int()> run;
};

Command MakeRun(CLI::App& app);
Command MakePretrain(CLI::App& app);
Command MakePlan(CLI::App& app);
Command MakeGenerate(CLI::App& app);
Command MakeScore(CLI::App& app);
Command MakeTokenize(CLI::App& app);
Command MakeConvert(CLI::App& app);
Command MakeReward(CLI::App& app);
Command MakeInspect(CLI::App& app);
Command MakePlugins(CLI::App& app);
Command MakeVersion(CLI::App& app);

}  // namespace volery::app
