#include "core/policy/families.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "core/tensor/guard.h"

namespace volery::policy {
namespace {

StatusOr<const native::ModelFamily*> Open(const plugin::PluginHost& host, const std::string& file) {
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const plugin::ModelPlugin> opened, host.LoadModel(file));
  return static_cast<const native::ModelFamily*>(opened->family());
}

std::string Join(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// The factory that a model was built with lives as long as the model.
struct ModelWithFactory {
  std::unique_ptr<nn::LinearFactory> linears;
  std::unique_ptr<native::Model> model;
};

}  // namespace

std::string NotUsable(const std::vector<std::string>& failures) {
  std::string text;
  for (const std::string& failure : failures) text += Cat("\n  not usable: ", failure);
  return text;
}

StatusOr<const native::ModelFamily*> FamilyFinder::operator()(const std::string& family) const {
  std::vector<std::string> offered, failures;
  for (const native::ModelFamily* opened : All(&failures)) {
    const std::vector<std::string> names = opened->families();
    if (std::find(names.begin(), names.end(), family) != names.end()) return opened;
    offered.insert(offered.end(), names.begin(), names.end());
  }
  std::sort(offered.begin(), offered.end());
  return NotFoundError("no model plugin has the family \"", family,
                       "\"; there are: ", offered.empty() ? "none" : Join(offered, ", "),
                       ". Searched: ", Join(host_->folders(), ", "), NotUsable(failures));
}

std::vector<const native::ModelFamily*> FamilyFinder::All(std::vector<std::string>* failures) const {
  std::vector<const native::ModelFamily*> out;
  for (const std::string& file : host_->ModelFiles()) {
    const StatusOr<const native::ModelFamily*> opened = Open(*host_, file);
    if (opened.ok())
      out.push_back(*opened);
    else if (failures != nullptr)
      failures->push_back(Message(opened.status()));
  }
  return out;
}

std::vector<std::string> FamilyNames(const plugin::PluginHost& host) {
  std::set<std::string> names;
  for (const native::ModelFamily* family : FamilyFinder(host).All())
    for (const std::string& name : family->families()) names.insert(name);
  return {names.begin(), names.end()};
}

StatusOr<std::shared_ptr<native::Model>> BuildModel(const native::ModelFamily& family,
                                                    const std::string& config_json, c10::ScalarType dtype,
                                                    c10::Device device, const std::string& where,
                                                    const std::map<std::string, std::string>& options) {
  return tensor::Guard(where, [&] {
    auto built = std::make_shared<ModelWithFactory>();
    built->linears = nn::MakeLinearFactory();
    built->model = family.Build(config_json, {dtype, device, built->linears.get(), options});
    return std::shared_ptr<native::Model>(built, built->model.get());
  });
}

}  // namespace volery::policy
