#include "core/plugin/reward_plugin.h"

namespace volery::plugin {

RewardPlugin::RewardPlugin(std::shared_ptr<const PluginLibrary> library, nlohmann::ordered_json options,
                           const RewardSettings& settings)
    : library_(std::move(library)),
      options_(std::move(options)),
      settings_(settings),
      isolated_(settings.isolate || library_->info().may_hang),
      services_(library_->info().id, settings.seed) {}

StatusOr<std::shared_ptr<RewardPlugin>> RewardPlugin::Create(std::shared_ptr<const PluginLibrary> library,
                                                             const nlohmann::json& options,
                                                             const RewardSettings& settings) {
  const PluginInfo& info = library->info();
  if (info.kind != "reward") return InvalidError("plugin ", info.path, " is a ", info.kind, ", not a reward");
  VOLERY_ASSIGN_OR_RETURN(nlohmann::ordered_json resolved, ResolveOptions(info, options));
  std::shared_ptr<RewardPlugin> out(new RewardPlugin(std::move(library), std::move(resolved), settings));
  if (out->isolated_) {
    VOLERY_ASSIGN_OR_RETURN(std::unique_ptr<RewardChild> child, out->TakeChild());
    out->GiveBack(std::move(child));
  } else {
    VOLERY_ASSIGN_OR_RETURN(out->instance_,
                            RewardInstance::Create(out->library_, out->options_, settings.seed));
  }
  return out;
}

RewardPlugin::Outcome RewardPlugin::Score(RewardCall& call, int64_t limit_ms, int64_t grace_ms) {
  return isolated_ ? ScoreInChild(call, limit_ms, grace_ms) : ScoreHere(call);
}

RewardPlugin::Outcome RewardPlugin::ScoreHere(RewardCall& call) {
  Outcome out;
  out.message = instance_->Score(call);
  for (const auto& [name, sum] : instance_->services().TakeSums())
    services_.AddMetric(name, sum.sum, sum.count);
  return out;
}

RewardPlugin::Outcome RewardPlugin::ScoreInChild(RewardCall& call, int64_t limit_ms, int64_t grace_ms) {
  StatusOr<std::unique_ptr<RewardChild>> child = TakeChild();
  if (!child.ok()) return {data::RewardStatus::kError, Message(child.status()), true, false};
  call.Start(limit_ms);  // the start of a child is not the sample's time
  ChildAnswer answer = (*child)->Score(call, limit_ms, grace_ms, [&call] { return call.stopped(); });
  switch (answer.outcome) {
    case ChildOutcome::kAnswered:
      for (size_t i = 0; i < answer.reply.results.size(); ++i)
        call.SetResult(i, std::move(answer.reply.results[i]));
      for (const auto& [name, sum] : answer.reply.metrics) services_.AddMetric(name, sum.sum, sum.count);
      GiveBack(*std::move(child));
      return {};
    case ChildOutcome::kTimeout:
      return {data::RewardStatus::kTimeout, answer.message, false, false};
    case ChildOutcome::kCancelled:
      return {data::RewardStatus::kError, answer.message, false, true};
    case ChildOutcome::kDied:
      break;
  }
  return {data::RewardStatus::kError, answer.message, true, false};
}

StatusOr<std::unique_ptr<RewardChild>> RewardPlugin::TakeChild() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<RewardChild> child = std::move(idle_.back());
      idle_.pop_back();
      return child;
    }
  }
  return RewardChild::Start(info(), options_, settings_.seed, settings_.start_timeout_ms);
}

void RewardPlugin::GiveBack(std::unique_ptr<RewardChild> child) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(child));
}

}  // namespace volery::plugin
