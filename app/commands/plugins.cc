#include <iostream>
#include <memory>

#include "app/command.h"
#include "core/plugin/new_plugin.h"
#include "core/plugin/plugin_host.h"

namespace volery::app {
namespace {

int ListPlugins() {
  const plugin::PluginHost host;
  std::cout << "folders searched, in this order:\n";
  for (const std::string& folder : host.folders()) std::cout << "  " << folder << "\n";
  int unusable = 0;
  for (const plugin::PluginReport& report : host.List()) {
    std::cout << "\n" << report.Text();
    unusable += !report.status.ok();
  }
  return unusable ? kExitFailure : kExitDone;
}

int CheckPlugin(const std::string& path) {
  const plugin::PluginReport report = plugin::PluginHost::Check(path);
  std::cout << report.Text();
  return report.status.ok() ? kExitDone : kExitInput;
}

int NewPlugin(const std::string& kind, const std::string& name, const std::string& folder) {
  const StatusOr<std::vector<std::string>> files = plugin::NewPlugin(kind, name, folder.empty() ? name : folder);
  if (!files.ok()) return Report(files.status());
  for (const std::string& file : *files) std::cout << file << "\n";
  return kExitDone;
}

}  // namespace

Command MakePlugins(CLI::App& app) {
  struct Options {
    std::string file, kind, name, folder;
  };
  auto options = std::make_shared<Options>();
  CLI::App* parser = app.add_subcommand("plugins", "List and check plugins, or begin one of your own");
  parser->require_subcommand(1);
  CLI::App* list = parser->add_subcommand("list", "Every plugin found, with its options");
  CLI::App* check = parser->add_subcommand("check", "Say whether a plugin file can be used, and why not");
  check->add_option("file", options->file, "the .so file")->required();
  CLI::App* begin = parser->add_subcommand("new", "Write a plugin's project that builds outside this tree");
  begin->add_option("kind", options->kind, "reward")->required();
  begin->add_option("name", options->name, "lower-case letters, digits and underscores")->required();
  begin->add_option("--folder", options->folder, "where to (default: a folder of that name)");
  return {parser, [=] {
            if (list->parsed()) return ListPlugins();
            if (check->parsed()) return CheckPlugin(options->file);
            return NewPlugin(options->kind, options->name, options->folder);
          }};
}

}  // namespace volery::app
