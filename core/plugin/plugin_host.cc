#include "core/plugin/plugin_host.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <vector>

#include "core/base/edit_distance.h"
#include "core/base/files.h"

namespace volery::plugin {
namespace {

bool IsPath(const std::string& name) {
  return name.find('/') != std::string::npos || name.ends_with(".so");
}

std::string Stem(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

std::vector<std::string> SplitPath(const char* value) {
  std::vector<std::string> out;
  if (value == nullptr) return out;
  std::string all = value;
  for (size_t begin = 0; begin <= all.size();) {
    const size_t end = std::min(all.find(':', begin), all.size());
    if (end > begin) out.push_back(all.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

std::string OptionLine(const OptionInfo& option) {
  std::string value = "required";
  if (option.default_value)
    value = option.type == OptionType::kText ? "\"" + *option.default_value + "\"" : *option.default_value;
  return Cat("    ", option.name, " (", OptionTypeName(option.type), ", ", value, "): ", option.help, "\n");
}

}  // namespace

std::string PluginReport::Text() const {
  std::string out = Cat(path, "\n");
  if (!status.ok()) return Cat(out, "  refused: ", Message(status), "\n");
  out += Cat("  ", info.kind, " ", info.id, ", plugin ABI ", info.abi_major, ".", info.abi_minor, "\n  ",
             info.description, "\n");
  if (info.may_hang) out += "  may hang: runs in a child process\n";
  if (info.wants_group) out += "  wants whole groups\n";
  if (!info.build_tag.empty()) out += Cat("  build tag: ", info.build_tag, "\n");
  if (!info.options.empty()) out += "  options:\n";
  for (const OptionInfo& option : info.options) out += OptionLine(option);
  return out;
}

namespace {

// A model family lives until the process ends, and so does the host table that its plugin may have kept.
void KeepForever(std::unique_ptr<HostServices> services) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::unique_ptr<HostServices>>();
  std::lock_guard lock(mutex);
  kept.push_back(std::move(services));
}

}  // namespace

StatusOr<std::shared_ptr<const ModelPlugin>> ModelPlugin::Create(
    std::shared_ptr<const PluginLibrary> library) {
  const PluginInfo& info = library->info();
  if (info.kind != "model") return InvalidError("plugin ", info.path, " is a ", info.kind, ", not a model");
  auto services = std::make_unique<HostServices>(info.id, 0);
  char text[4096] = "";
  volery_message message{sizeof(volery_message), sizeof(text), 0, 0, text};
  void* family = nullptr;
  try {
    const int32_t code = library->entry().create(services->table(), nullptr, 0, &family, &message);
    if (code != VOLERY_OK || family == nullptr) {
      return PreconditionError("plugin ", info.path, ": create failed: ",
                               std::string(text, std::min<size_t>(message.length, sizeof(text))));
    }
  } catch (const std::exception& e) {
    return PreconditionError("plugin ", info.path,
                             " broke the contract: an exception crossed the boundary: ", e.what());
  }
  KeepForever(std::move(services));
  return std::shared_ptr<const ModelPlugin>(new ModelPlugin(std::move(library), family));
}

PluginHost::PluginHost(const std::vector<std::string>& recipe_folders) : folders_(recipe_folders) {
  for (std::string& folder : SplitPath(std::getenv("VOLERY_PLUGIN_PATH")))
    folders_.push_back(std::move(folder));
  folders_.push_back(InstalledPluginFolder());
}

std::vector<std::string> PluginHost::Files() const {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const std::string& folder : folders_) {
    StatusOr<std::vector<std::string>> names = base::ListFolder(folder);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      if (name.ends_with(".so") && seen.insert(name).second) out.push_back(folder + "/" + name);
    }
  }
  return out;
}

StatusOr<std::string> PluginHost::Find(const std::string& name) const {
  if (IsPath(name)) {
    if (base::Exists(name)) return name;
    return NotFoundError("plugin ", name, ": there is no such file");
  }
  const std::vector<std::string> files = Files();
  std::vector<std::string> stems;
  for (const std::string& file : files) {
    stems.push_back(Stem(file));
    if (stems.back() == name) return file;
  }
  if (name.find('.') != std::string::npos) {
    for (const std::string& file : files) {
      StatusOr<std::shared_ptr<const PluginLibrary>> library = PluginLibrary::Open(file);
      if (library.ok() && (*library)->info().id.substr(0, (*library)->info().id.find('/')) == name)
        return file;
    }
  }
  std::string places;
  for (const std::string& folder : folders_) places += "\n  " + folder;
  const std::string nearest = base::NearestWord(name, stems);
  return NotFoundError("no plugin \"", name, "\"",
                       nearest.empty() ? "" : Cat("; did you mean \"", nearest, "\"?"), " Looked in:", places,
                       "\n  add a folder with plugins.path in the recipe or with VOLERY_PLUGIN_PATH");
}

PluginReport PluginHost::Check(const std::string& path) {
  PluginReport report;
  report.path = path;
  StatusOr<std::shared_ptr<const PluginLibrary>> library = PluginLibrary::Open(path);
  report.status = library.status();
  if (library.ok()) report.info = (*library)->info();
  return report;
}

std::vector<PluginReport> PluginHost::List() const {
  std::vector<PluginReport> out;
  for (const std::string& file : Files()) out.push_back(Check(file));
  return out;
}

StatusOr<PluginInfo> PluginHost::Inspect(const std::string& name) const {
  VOLERY_ASSIGN_OR_RETURN(std::string path, Find(name));
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const PluginLibrary> library, PluginLibrary::Open(path));
  return library->info();
}

StatusOr<std::shared_ptr<RewardPlugin>> PluginHost::LoadReward(const std::string& name,
                                                               const nlohmann::json& options,
                                                               const RewardSettings& settings) const {
  VOLERY_ASSIGN_OR_RETURN(std::string path, Find(name));
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const PluginLibrary> library, PluginLibrary::Open(path));
  return RewardPlugin::Create(std::move(library), options, settings);
}

StatusOr<std::shared_ptr<const ModelPlugin>> PluginHost::LoadModel(const std::string& name) const {
  VOLERY_ASSIGN_OR_RETURN(std::string path, Find(name));
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const PluginLibrary> library, PluginLibrary::Open(path));
  return ModelPlugin::Create(std::move(library));
}

std::vector<std::string> PluginHost::ModelFiles() const {
  std::vector<std::string> out;
  for (const std::string& file : Files()) {
    StatusOr<std::optional<std::string>> tag = BuildTagOfFile(file);
    if (tag.ok() && tag->has_value()) out.push_back(file);
  }
  return out;
}

std::string ExecutableFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

std::string InstalledPluginFolder() {
  return base::ResolvePath(ExecutableFolder(), "../lib/volery/plugins");
}
std::string TemplateFolder() {
  return base::ResolvePath(ExecutableFolder(), "../share/volery/template");
}

}  // namespace volery::plugin
