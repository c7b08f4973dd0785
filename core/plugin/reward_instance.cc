#include "core/plugin/reward_instance.h"

#include <array>
#include <deque>

namespace volery::plugin {
namespace {

// The caller's side of a message buffer.
struct MessageBuffer {
  std::array<char, 4096> bytes{};
  volery_message message{sizeof(volery_message), static_cast<uint32_t>(bytes.size()), 0, 0, bytes.data()};
  std::string Text() const {
    return std::string(bytes.data(), std::min<size_t>(message.length, bytes.size()));
  }
};

volery_option_value ToC(const OptionInfo& option, const nlohmann::ordered_json& value) {
  volery_option_value out{};
  out.size = sizeof(out);
  out.type = static_cast<uint32_t>(option.type);
  out.name = option.name.c_str();
  if (option.type == OptionType::kBool) out.integer = value.get<bool>();
  if (option.type == OptionType::kInteger) out.integer = value.get<int64_t>();
  if (option.type == OptionType::kNumber) out.number = value.get<double>();
  if (option.type == OptionType::kText) {
    const auto& text = value.get_ref<const std::string&>();
    out.text = {text.data(), text.size()};
  }
  return out;
}

// Calls into the plugin; an exception that crosses the boundary is reported instead of ending the process.
template <class Body>
int32_t CallOut(std::string& broken, Body body) {
  try {
    return body();
  } catch (const std::exception& e) {
    broken = Cat("the plugin broke the contract: an exception crossed the boundary: ", e.what());
  } catch (...) {
    broken = "the plugin broke the contract: an unknown exception crossed the boundary";
  }
  return VOLERY_FAILED;
}

}  // namespace

StatusOr<std::unique_ptr<RewardInstance>> RewardInstance::Create(std::shared_ptr<const PluginLibrary> library,
                                                                 const nlohmann::ordered_json& options,
                                                                 uint64_t seed) {
  std::unique_ptr<RewardInstance> out(new RewardInstance(std::move(library), seed));
  const Status made = out->Make(options);
  if (!made.ok()) return Annotate(made, "plugin ", out->library_->info().path);
  return out;
}

Status RewardInstance::Make(const nlohmann::ordered_json& options) {
  std::deque<volery_option_value> values;
  std::vector<const volery_option_value*> pointers;
  for (const OptionInfo& option : library_->info().options) {
    pointers.push_back(&values.emplace_back(ToC(option, options.at(option.name))));
  }
  MessageBuffer buffer;
  std::string broken;
  void* instance = nullptr;
  const int32_t code = CallOut(broken, [&] {
    return library_->entry().create(services_.table(), pointers.data(), pointers.size(), &instance,
                                    &buffer.message);
  });
  if (!broken.empty()) return PreconditionError(broken);
  if (code != VOLERY_OK) return InvalidError("it refused its options: ", buffer.Text());
  auto* reward = static_cast<volery_reward*>(instance);
  if (reward == nullptr || reward->size < sizeof(volery_reward) || reward->score == nullptr ||
      reward->destroy == nullptr) {
    return PreconditionError("the plugin broke the contract: create returned no complete reward table");
  }
  reward_ = reward;
  return OkStatus();
}

RewardInstance::~RewardInstance() {
  std::string broken;
  if (reward_ != nullptr) CallOut(broken, [&] { return reward_->destroy(reward_), VOLERY_OK; });
}

std::string RewardInstance::Score(RewardCall& call) {
  MessageBuffer buffer;
  std::string broken;
  const int32_t code =
      CallOut(broken, [&] { return reward_->score(reward_, call.table(), &buffer.message); });
  if (!broken.empty()) return broken;
  if (code == VOLERY_OK) return "the plugin broke the contract: it set no result for this sample";
  const std::string text = buffer.Text();
  return text.empty() ? Cat("the plugin failed with code ", code, " and no message") : text;
}

}  // namespace volery::plugin
