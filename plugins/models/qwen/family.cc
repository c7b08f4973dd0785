#include "config.h"
#include "gguf.h"
#include "model.h"
#include "volery/native/plugin.h"

namespace volery::qwen {

// Qwen2, Qwen2.5, QwQ; Qwen3 dense; Llama 3 and SmolLM2.
class Family final : public native::ModelFamily {
 public:
  static constexpr char kDescription[] =
      "Qwen2, Qwen3 (dense) and Llama: grouped-query attention, rotary positions, gated SiLU";

  std::vector<std::string> families() const override { return {"qwen2", "qwen3", "llama"}; }
  std::unique_ptr<native::Model> Build(const std::string& config_json,
                                       const native::BuildOptions& options) const override {
    return std::make_unique<Model>(config_json, options);
  }
  std::string ScratchConfigJson(const native::ScratchConfig& config) const override {
    return qwen::ScratchConfigJson(config);
  }
  native::ImportPlan ImportGguf(const std::map<std::string, native::MetaValue>& metadata,
                                const std::vector<std::string>& tensors) const override {
    return qwen::ImportGguf(metadata, tensors);
  }
};

}  // namespace volery::qwen

VOLERY_MODEL_PLUGIN("volery.qwen/1", volery::qwen::Family)
