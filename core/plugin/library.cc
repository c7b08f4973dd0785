#include "core/plugin/library.h"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>
#include <filesystem>
#include <map>
#include <mutex>

#include "core/base/files.h"
#include "core/plugin/build_tag.h"
#include "core/plugin/elf_note.h"
#include "volery/abi/reward.h"

namespace volery::plugin {
namespace {

// "vendor.name/revision" in lower-case letters, digits and underscores.
bool IsPluginId(const std::string& id) {
  const size_t dot = id.find('.'), slash = id.find('/');
  if (dot == std::string::npos || slash == std::string::npos || dot == 0 || slash <= dot + 1 ||
      slash + 1 == id.size())
    return false;
  const std::string word = "abcdefghijklmnopqrstuvwxyz0123456789_";
  return id.find_first_not_of(word) == dot && id.find_first_not_of(word, dot + 1) == slash &&
         id.find_first_not_of("0123456789", slash + 1) == std::string::npos;
}

StatusOr<OptionInfo> CheckOption(const volery_option_spec* spec, uint64_t index) {
  if (spec == nullptr || spec->size < sizeof(volery_option_spec) || spec->name == nullptr ||
      *spec->name == 0 || spec->help == nullptr) {
    return PreconditionError("the plugin broke the contract: option ", index, " of its entry lacks fields");
  }
  if (spec->type < VOLERY_OPTION_BOOL || spec->type > VOLERY_OPTION_TEXT) {
    return PreconditionError("the plugin broke the contract: option \"", spec->name, "\" has unknown type ",
                             spec->type);
  }
  OptionInfo out{spec->name, static_cast<OptionType>(spec->type), std::nullopt, spec->help};
  if (spec->default_value != nullptr) out.default_value = spec->default_value;
  PluginInfo probe;
  probe.options = {out};
  if (out.default_value && !OptionsFromText(probe, {out.name + "=" + *out.default_value}).ok()) {
    return PreconditionError("the plugin broke the contract: the default of option \"", out.name, "\" (\"",
                             *out.default_value, "\") is no ", OptionTypeName(out.type));
  }
  return out;
}

Status CheckVersion(const volery_plugin& entry) {
  if (entry.abi_major != VOLERY_ABI_MAJOR) {
    return PreconditionError("it was built for plugin ABI ", entry.abi_major, ".", entry.abi_minor,
                             "; this volery speaks ", VOLERY_ABI_MAJOR, ".", VOLERY_ABI_MINOR,
                             ". Build it against this volery's SDK");
  }
  if (entry.abi_minor > VOLERY_ABI_MINOR) {
    return PreconditionError("it was built for the newer plugin ABI ", entry.abi_major, ".", entry.abi_minor,
                             "; this volery speaks ", VOLERY_ABI_MAJOR, ".", VOLERY_ABI_MINOR,
                             ". Update volery, or build it against this volery's SDK");
  }
  if (entry.size < sizeof(volery_plugin)) {
    return PreconditionError("the plugin broke the contract: its entry struct says ", entry.size,
                             " bytes; ABI ", entry.abi_major, ".", entry.abi_minor, " needs at least ",
                             sizeof(volery_plugin));
  }
  return OkStatus();
}

StatusOr<boost::dll::shared_library> Load(const std::string& path) {
  try {
    return boost::dll::shared_library(std::filesystem::path(path),
                                      boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
  } catch (const std::exception& e) {
    return PreconditionError("it can't be opened as a library: ", e.what(),
                             "\n  (a missing symbol or library is the plugin's: link it with "
                             "-Wl,--no-undefined, as volery_add_reward does)");
  }
}

// Unloading code with static destructors or thread-locals crashes at exit: handles are never given back.
void KeepLoaded(boost::dll::shared_library library) {
  static auto* const kept =
      new std::vector<boost::dll::shared_library>;  // under the lock of PluginLibrary::Open
  kept->push_back(std::move(library));
}

const volery_plugin* FindEntry(const boost::dll::shared_library& library) {
  try {
    return library.has(VOLERY_PLUGIN_SYMBOL) ? &library.get<const volery_plugin>(VOLERY_PLUGIN_SYMBOL)
                                             : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace

StatusOr<PluginInfo> CheckEntry(const volery_plugin* entry, PluginInfo info) {
  VOLERY_RETURN_IF_ERROR(CheckVersion(*entry));
  if (entry->kind == nullptr || entry->id == nullptr || entry->description == nullptr ||
      entry->create == nullptr) {
    return PreconditionError(
        "the plugin broke the contract: kind, id, description or create is null in its entry");
  }
  info.kind = entry->kind;
  info.id = entry->id;
  info.description = entry->description;
  info.abi_major = entry->abi_major;
  info.abi_minor = entry->abi_minor;
  info.may_hang = info.kind == "reward" && (entry->flags & VOLERY_REWARD_MAY_HANG) != 0;
  info.wants_group = info.kind == "reward" && (entry->flags & VOLERY_REWARD_WANTS_GROUP) != 0;
  if (info.kind != "reward" && info.kind != "model") {
    return PreconditionError("its kind is \"", info.kind, "\"; this volery knows the kinds reward and model");
  }
  if (!IsPluginId(info.id)) {
    return PreconditionError("the plugin broke the contract: its id \"", info.id,
                             "\" is not of the form vendor.name/revision");
  }
  if (entry->option_count > 0 && entry->options == nullptr) {
    return PreconditionError("the plugin broke the contract: it declares ", entry->option_count,
                             " options, but their list is null");
  }
  for (uint64_t i = 0; i < entry->option_count; ++i) {
    VOLERY_ASSIGN_OR_RETURN(OptionInfo option, CheckOption(entry->options[i], i));
    info.options.push_back(std::move(option));
  }
  return info;
}

StatusOr<std::optional<std::string>> BuildTagOfFile(const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<base::MappedFile> file, base::MappedFile::Open(path));
  return ReadBuildTag(file->bytes());
}

StatusOr<std::shared_ptr<const PluginLibrary>> PluginLibrary::OpenNew(const std::string& path) {
  PluginInfo info;
  info.path = path;
  VOLERY_ASSIGN_OR_RETURN(std::optional<std::string> tag, BuildTagOfFile(path));
  if (tag) {
    VOLERY_RETURN_IF_ERROR(CheckBuildTag(*tag));
    info.build_tag = *tag;
  }
  VOLERY_ASSIGN_OR_RETURN(boost::dll::shared_library library, Load(path));
  const volery_plugin* entry = FindEntry(library);
  KeepLoaded(std::move(library));
  if (entry == nullptr) {
    return PreconditionError("it exports no symbol ", VOLERY_PLUGIN_SYMBOL,
                             "; it is no volery plugin (VOLERY_REWARD_PLUGIN makes one)");
  }
  VOLERY_ASSIGN_OR_RETURN(info, CheckEntry(entry, std::move(info)));
  if (info.kind == "model" && !tag) {
    return PreconditionError("it is a model, but carries no build tag; build it with volery_add_model");
  }
  return std::shared_ptr<const PluginLibrary>(new PluginLibrary(std::move(info), entry));
}

StatusOr<std::shared_ptr<const PluginLibrary>> PluginLibrary::Open(const std::string& path) {
  static std::mutex mutex;
  static auto* const opened = new std::map<std::string, std::shared_ptr<const PluginLibrary>>;
  std::error_code error;
  const std::string canonical = std::filesystem::canonical(path, error).string();
  if (error) return NotFoundError("plugin ", path, ": ", error.message());
  std::lock_guard lock(mutex);
  if (auto found = opened->find(canonical); found != opened->end()) return found->second;
  StatusOr<std::shared_ptr<const PluginLibrary>> library = OpenNew(canonical);
  if (!library.ok()) return Annotate(library.status(), "plugin ", canonical);
  (*opened)[canonical] = *library;
  return library;
}

}  // namespace volery::plugin
