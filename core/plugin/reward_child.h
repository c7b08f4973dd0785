#pragma once
// A reward plugin in a child process: for plugins that may hang or crash. The child is this executable,
// started as
// `<executable> reward-host <plugin file>` (never fork without exec), spoken to over a socket, and killed
// with its process group when its time is up or the run stops. One call at a time; one thread at a time.

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/plugin/plugin_info.h"
#include "core/plugin/reward_call.h"
#include "core/plugin/wire.h"

namespace volery::plugin {

// How a call in a child ended.
enum class ChildOutcome { kAnswered, kTimeout, kDied, kCancelled };
struct ChildAnswer {
  ChildOutcome outcome = ChildOutcome::kDied;
  ChildReply reply;     // of kAnswered
  std::string message;  // of the others: "killed by signal SIGABRT (Aborted)" ...
};

class RewardChild {
 public:
  // Starts the process and waits until the plugin has made its instance. Errors: InvalidArgument when the
  // plugin refuses its options; DeadlineExceeded; Internal when the process can't start or dies.
  static StatusOr<std::unique_ptr<RewardChild>> Start(const PluginInfo& plugin,
                                                      const nlohmann::ordered_json& options, uint64_t seed,
                                                      int64_t timeout_ms);
  ~RewardChild();  // kills the process
  RewardChild(const RewardChild&) = delete;
  RewardChild& operator=(const RewardChild&) = delete;

  // Blocks. After any outcome but kAnswered the process is gone and this object is of no more use.
  ChildAnswer Score(const RewardCall& call, int64_t limit_ms, int64_t grace_ms,
                    const std::function<bool()>& cancelled);

 private:
  RewardChild(int pid, int socket) : pid_(pid), socket_(socket) {}
  ChildAnswer Died();
  std::string Reap();

  int pid_;
  int socket_;
};

// The child's side: call it first thing in main() when argv[1] is "reward-host", and return what it returns.
// Every executable that uses isolated rewards must do so, test binaries too.
int RewardHostMain(int argc, char** argv);

}  // namespace volery::plugin
