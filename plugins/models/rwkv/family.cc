#include "config.h"
#include "model.h"
#include "pth.h"
#include "volery/native/plugin.h"

namespace volery::rwkv {

class Family final : public native::ModelFamily {
 public:
  static constexpr char kDescription[] = "RWKV-5.2 (Eagle) and RWKV-6 (Finch): matrix-valued recurrent state";

  std::vector<std::string> families() const override { return {"rwkv5", "rwkv6"}; }
  std::unique_ptr<native::Model> Build(const std::string& config_json,
                                       const native::BuildOptions& options) const override {
    return std::make_unique<Model>(config_json, options);
  }
  std::string ScratchConfigJson(const native::ScratchConfig& config) const override {
    return rwkv::ScratchConfigJson(config);
  }
  std::string CompleteConfig(const std::string& config_json,
                             const std::vector<native::FileTensor>& tensors) const override {
    return rwkv::CompleteConfig(config_json, tensors);
  }
  native::ImportPlan ImportGguf(const std::map<std::string, native::MetaValue>&,
                                const std::vector<std::string>&) const override {
    throw std::invalid_argument("RWKV models are not read from GGUF files; give a .pth file or a folder");
  }
  std::optional<native::ImportPlan> ImportPth(const std::vector<native::FileTensor>& tensors) const override {
    return rwkv::ImportPth(tensors);
  }
  std::vector<native::ImportedTensor> PthTensors(const std::string& config_json) const override {
    return rwkv::PthTensors(config_json);
  }
};

}  // namespace volery::rwkv

VOLERY_MODEL_PLUGIN("volery.rwkv/1", volery::rwkv::Family)
