#include <iostream>

#include "app/command.h"

namespace volery::app {

Command MakeVersion(CLI::App& app) {
  CLI::App* parser = app.add_subcommand("version", "Print the version of volery and of what it was built with");
  return {parser, [] {
            std::cout << "volery " << VOLERY_VERSION << " (LibTorch " << VOLERY_TORCH_VERSION << ", g++ " << __GNUC__ << ")\n";
            return kExitDone;
          }};
}

}  // namespace volery::app
