#pragma once
// Finds plugins, checks them, and hands out typed handles.
//
//   PluginHost host(recipe_folders);
//   VOLERY_ASSIGN_OR_RETURN(auto reward, host.LoadReward("format", {{"words", 3}}, {.seed = 7}));
//   RewardPool pool({.threads = 2}, stop);
//   auto results = pool.Score({reward, samples, 10'000});
//
// A plugin is named by its file's name ("format"), by its id without revision ("volery.format"), or by a path
// (with a
// '/' or ending in ".so"). Folders are searched in this order: the recipe's plugins.path, VOLERY_PLUGIN_PATH
// (separated by ':'), the installation's folder (../lib/volery/plugins beside the executable's). Thread-safe.

#include <memory>
#include <string>
#include <vector>

#include "core/plugin/reward_plugin.h"

namespace volery::plugin {

// What a look at one file found.
struct PluginReport {
  std::string path;
  Status status;             // not OK: why it can't be used
  PluginInfo info;           // filled as far as the checks came
  std::string Text() const;  // for people, several lines
};

// A model plugin's entry, opaque here: policy/ casts family() to volery::native::ModelFamily*.
class ModelPlugin {
 public:
  static StatusOr<std::shared_ptr<const ModelPlugin>> Create(std::shared_ptr<const PluginLibrary> library);
  const PluginInfo& info() const { return library_->info(); }
  void* family() const { return family_; }  // never null; lives until the process ends

 private:
  ModelPlugin(std::shared_ptr<const PluginLibrary> library, void* family)
      : library_(std::move(library)), family_(family) {}
  std::shared_ptr<const PluginLibrary> library_;
  void* family_;
};

class PluginHost {
 public:
  explicit PluginHost(const std::vector<std::string>& recipe_folders = {});
  const std::vector<std::string>& folders() const { return folders_; }

  // The file that a name means. NotFound says where was looked, and suggests the nearest name.
  StatusOr<std::string> Find(const std::string& name) const;
  // Every .so file of the folders, usable or not; a name that an earlier folder has hides later ones.
  std::vector<PluginReport> List() const;
  // All checks on one file, without making an instance.
  static PluginReport Check(const std::string& path);

  // Opens a plugin for what it declares (a recipe's options are checked against it with FindOptionProblems).
  StatusOr<PluginInfo> Inspect(const std::string& name) const;
  StatusOr<std::shared_ptr<RewardPlugin>> LoadReward(const std::string& name, const nlohmann::json& options,
                                                     const RewardSettings& settings) const;
  StatusOr<std::shared_ptr<const ModelPlugin>> LoadModel(const std::string& name) const;
  // Files that carry a build tag, told without opening them as libraries.
  std::vector<std::string> ModelFiles() const;

 private:
  std::vector<std::string> Files() const;
  std::vector<std::string> folders_;
};

// The folder of this executable, and the installation's plugin folder and template folder relative to it.
std::string ExecutableFolder();
std::string InstalledPluginFolder();
std::string TemplateFolder();

}  // namespace volery::plugin
