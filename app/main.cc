// volery: one binary, one subcommand a job. This file only dispatches.

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "app/command.h"
#include "core/plugin/reward_child.h"
#include "core/tensor/threads.h"

namespace volery::app {
namespace {

int Dispatch(int argc, char** argv) {
  CLI::App app("Trains language models by asynchronous reinforcement learning.", "volery");
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  const std::vector<Command> commands = {MakeRun(app),      MakePretrain(app), MakePlan(app),   MakeGenerate(app), MakeScore(app),  MakeTokenize(app),
                                         MakeConvert(app), MakeReward(app),   MakeInspect(app), MakePlugins(app),  MakeVersion(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);   // --help
    std::cerr << "volery: " << e.what() << "\nRun `volery --help`, or `volery <command> --help`.\n";
    return kExitInput;
  }
  for (const Command& command : commands) {
    if (command.parser->parsed()) return command.run();
  }
  return kExitInput;
}

}  // namespace

int Report(const Status& status, bool started) {
  if (status.ok()) return kExitDone;
  std::cerr << "volery: " << Message(status) << "\n";
  if (status.code() == StatusCode::kCancelled) return kExitInterrupted;
  return IsInputError(status) && !started ? kExitInput : kExitFailure;
}

}  // namespace volery::app

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "reward-host") return volery::plugin::RewardHostMain(argc, argv);
  // libgomp reads its waiting policy when it is loaded, so a first start sets it and starts again.
  if (volery::tensor::SetPassiveWaiting()) {
    ::execv("/proc/self/exe", argv);
    std::perror("volery: can't start again with OMP_WAIT_POLICY=passive; going on without");
  }
  try {
    return volery::app::Dispatch(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "volery: unexpected failure: " << e.what() << "\n";
    return volery::app::kExitFailure;
  }
}
