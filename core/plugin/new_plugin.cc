#include "core/plugin/new_plugin.h"

#include <cctype>

#include "core/base/files.h"
#include "core/plugin/plugin_host.h"

namespace volery::plugin {
namespace {

constexpr char kTemplateName[] = "my_reward";
constexpr char kTemplateClass[] = "MyReward";

bool IsPluginName(const std::string& name) {
  return !name.empty() && std::islower(static_cast<unsigned char>(name[0])) &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

// "word_count" -> "WordCount"
std::string ClassName(const std::string& name) {
  std::string out;
  bool upper = true;
  for (char c : name) {
    if (c != '_') out += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = c == '_';
  }
  return out;
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

StatusOr<std::vector<std::string>> NewPlugin(const std::string& kind, const std::string& name,
                                             const std::string& folder) {
  if (kind != "reward")
    return InvalidError("there is no template for the plugin kind \"", kind,
                        "\"; this version writes: reward");
  if (!IsPluginName(name)) {
    return InvalidError(
        "\"", name, "\" can't name a plugin; use lower-case letters, digits and underscores, a letter first");
  }
  VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFolder(TemplateFolder()));
  if (base::Exists(folder)) {
    VOLERY_ASSIGN_OR_RETURN(std::vector<std::string> present, base::ListFolder(folder));
    if (!present.empty()) return ExistsError(folder, " is not empty; name a new folder");
  }
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder));
  std::vector<std::string> written;
  for (const std::string& file : files) {
    VOLERY_ASSIGN_OR_RETURN(std::string text, base::ReadFile(TemplateFolder() + "/" + file));
    text = Replace(Replace(std::move(text), kTemplateName, name), kTemplateClass, ClassName(name));
    written.push_back(folder + "/" + Replace(file, kTemplateName, name));
    VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(written.back(), text));
  }
  return written;
}

}  // namespace volery::plugin
