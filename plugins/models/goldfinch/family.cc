#include "config.h"
#include "import.h"
#include "model.h"
#include "volery/native/plugin.h"

namespace volery::goldfinch {

class Family final : public native::ModelFamily {
 public:
  static constexpr char kDescription[] =
      "GoldFinch (Finch-C2 below, GOLD attention with compressed keys above) and its siblings: Finch, "
      "Finch-C2, "
      "Finch-C2 with GPTAlpha, GPTAlpha, a Llama-like baseline";

  std::vector<std::string> families() const override { return Families(); }
  std::unique_ptr<native::Model> Build(const std::string& config_json,
                                       const native::BuildOptions& options) const override {
    return std::make_unique<Model>(config_json, options);
  }
  std::string ScratchConfigJson(const native::ScratchConfig& config) const override {
    return goldfinch::ScratchConfigJson(config);
  }
  std::string CompleteConfig(const std::string& config_json,
                             const std::vector<native::FileTensor>& tensors) const override {
    return goldfinch::CompleteConfig(config_json, tensors);
  }
  native::ImportPlan ImportGguf(const std::map<std::string, native::MetaValue>&,
                                const std::vector<std::string>&) const override {
    throw std::invalid_argument(
        "GoldFinch has no GGUF form; open a model folder or the reference's .pth file");
  }
  std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors) const override {
    return goldfinch::ImportPth(tensors);
  }
  std::vector<native::ImportedTensor> PthTensors(const std::string& config_json) const override {
    return goldfinch::PthTensors(config_json);
  }
};

}  // namespace volery::goldfinch

VOLERY_MODEL_PLUGIN("volery.goldfinch/1", volery::goldfinch::Family)
