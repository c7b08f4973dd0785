#include "core/plugin/reward_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <thread>

#include "core/base/log.h"
#include "core/plugin/frames.h"
#include "core/plugin/reward_instance.h"

extern char** environ;

namespace volery::plugin {
namespace {

constexpr int kChildSocket = 3;
constexpr char kSelf[] = "/proc/self/exe";
constexpr int64_t kReapMs = 2000;

std::string ExitText(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    const char* name = sigabbrev_np(signal);
    const char* text = sigdescr_np(signal);
    return Cat("killed by signal SIG", name != nullptr ? name : std::to_string(signal), " (",
               text != nullptr ? text : "unknown", ")");
  }
  return Cat("exited with code ", WEXITSTATUS(status));
}

// The spawn attributes: own process group, no inherited mask, default handlers; socket at 3, nothing else
// inherited.
class SpawnPlan {
 public:
  explicit SpawnPlan(int socket) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO,
                                     STDOUT_FILENO);  // a plugin's prints must not mix with results
    posix_spawn_file_actions_adddup2(&actions_, socket, kChildSocket);
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChildSocket + 1);
    posix_spawnattr_init(&attributes_);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int signal : {SIGINT, SIGTERM, SIGPIPE, SIGHUP}) sigaddset(&defaults, signal);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  StatusOr<pid_t> Run(const std::string& plugin_path) {
    std::string executable(4096, '\0');
    const ssize_t length = readlink(kSelf, executable.data(), executable.size());
    executable.resize(length > 0 ? static_cast<size_t>(length) : 0);
    std::string verb = "reward-host", path = plugin_path;
    std::array<char*, 4> arguments{executable.data(), verb.data(), path.data(), nullptr};
    pid_t pid = 0;
    const int error = posix_spawn(&pid, kSelf, &actions_, &attributes_, arguments.data(), environ);
    if (error != 0) return InternalError("can't start the reward's child process: ", std::strerror(error));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

StatusOr<std::unique_ptr<RewardChild>> RewardChild::Start(const PluginInfo& plugin,
                                                          const nlohmann::ordered_json& options,
                                                          uint64_t seed, int64_t timeout_ms) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    return InternalError("socketpair: ", std::strerror(errno));
  // dup2 onto itself would keep close-on-exec: the child's end must not already be 3.
  const int far =
      sockets[1] > kChildSocket ? sockets[1] : fcntl(sockets[1], F_DUPFD_CLOEXEC, kChildSocket + 1);
  StatusOr<pid_t> pid = SpawnPlan(far).Run(plugin.path);
  close(sockets[1]);
  if (far != sockets[1]) close(far);
  if (!pid.ok()) {
    close(sockets[0]);
    return pid.status();
  }
  std::unique_ptr<RewardChild> child(new RewardChild(*pid, sockets[0]));
  WireWriter hello;
  hello.Put(seed);
  hello.PutText(options.dump());
  const FrameLimit limit{timeout_ms};
  Status sent = SendFrame(child->socket_, hello.Take(), limit);
  StatusOr<std::string> reply = sent.ok() ? ReceiveFrame(child->socket_, limit) : StatusOr<std::string>(sent);
  if (!reply.ok() && reply.status().code() == StatusCode::kUnavailable) {
    return InternalError("plugin ", plugin.path, ": its child process died while starting: ", child->Reap(),
                         ". (The executable must call RewardHostMain for \"reward-host\".)");
  }
  if (!reply.ok()) return Annotate(reply.status(), "plugin ", plugin.path, ": starting its child process");
  if (!reply->empty()) return InvalidError(*reply);
  return child;
}

RewardChild::~RewardChild() {
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  close(socket_);
}

// Waits for a process that closed its socket; kills it if it lingers. Says how it ended.
std::string RewardChild::Reap() {
  int status = 0;
  pid_t done = 0;
  for (int64_t waited = 0; done == 0 && waited < kReapMs; ++waited) {
    done = waitpid(pid_, &status, WNOHANG);
    if (done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(-pid_, SIGKILL);  // what it may have started, too
  if (done == 0) {
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
  return ExitText(status);
}

ChildAnswer RewardChild::Died() {
  return {ChildOutcome::kDied, {}, Cat("the reward's child process was ", Reap())};
}

ChildAnswer RewardChild::Score(const RewardCall& call, int64_t limit_ms, int64_t grace_ms,
                               const std::function<bool()>& cancelled) {
  const FrameLimit limit{limit_ms + grace_ms, cancelled};
  const Status sent = SendFrame(socket_, EncodeCall({call.whole_group(), limit_ms, call.samples()}), limit);
  StatusOr<std::string> bytes = sent.ok() ? ReceiveFrame(socket_, limit) : StatusOr<std::string>(sent);
  if (bytes.ok()) {
    StatusOr<ChildReply> reply = DecodeReply(*bytes, call.samples().size());
    if (reply.ok()) return {ChildOutcome::kAnswered, *std::move(reply), ""};
    return {ChildOutcome::kDied, {}, Message(reply.status())};
  }
  switch (bytes.status().code()) {
    case StatusCode::kUnavailable:
      return Died();
    case StatusCode::kDeadlineExceeded:
      return {ChildOutcome::kTimeout,
              {},
              Cat("no answer within ", limit_ms, " ms; its child process was killed")};
    case StatusCode::kCancelled:
      return {ChildOutcome::kCancelled, {}, "cancelled"};
    default:
      return {ChildOutcome::kDied, {}, Message(bytes.status())};
  }
}

namespace {

// Ends the child's process group: itself and what its reward started.
[[noreturn]] void EndGroup() {
  if (getpgrp() == getpid()) kill(0, SIGKILL);
  _exit(0);
}

// Ends the group when the host goes away, also while the plugin hangs.
void WatchHost() {
  std::thread([] {
    pollfd descriptor{kChildSocket, POLLRDHUP, 0};
    while (poll(&descriptor, 1, -1) < 0 && errno == EINTR) {
    }
    EndGroup();
  }).detach();
}

StatusOr<std::unique_ptr<RewardInstance>> MakeFromHello(const std::string& path, const std::string& hello) {
  WireReader in(hello);
  const auto seed = in.Get<uint64_t>();
  const nlohmann::ordered_json options =
      nlohmann::ordered_json::parse(in.GetText(), nullptr, /*allow_exceptions=*/false);
  if (!in.AtEnd() || !options.is_object()) return DataLossError("malformed first message");
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const PluginLibrary> library, PluginLibrary::Open(path));
  return RewardInstance::Create(std::move(library), options, seed);
}

std::string Answer(RewardInstance& instance, ChildCall& request) {
  RewardCall call(std::move(request.samples), request.whole_group);
  call.Start(request.limit_ms);
  const std::string failure = instance.Score(call);
  ChildReply reply{call.Finish(data::RewardStatus::kError, failure), instance.services().TakeSums()};
  return EncodeReply(reply);
}

}  // namespace

int RewardHostMain(int argc, char** argv) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (argc != 3 || getsockopt(kChildSocket, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    std::fprintf(
        stderr,
        "reward-host is the child process of isolated rewards; it is started by the program itself\n");
    return 2;
  }
  fcntl(kChildSocket, F_SETFD, FD_CLOEXEC);
  StatusOr<std::string> hello = ReceiveFrame(kChildSocket, {});
  if (!hello.ok()) return 1;
  WatchHost();
  StatusOr<std::unique_ptr<RewardInstance>> instance = MakeFromHello(argv[2], *hello);
  if (!SendFrame(kChildSocket, instance.ok() ? "" : Message(instance.status()), {}).ok() || !instance.ok())
    return 1;
  while (true) {
    StatusOr<std::string> bytes = ReceiveFrame(kChildSocket, {});
    if (!bytes.ok()) EndGroup();  // the host is gone
    StatusOr<ChildCall> call = DecodeCall(*bytes);
    if (!call.ok()) return 1;
    if (!SendFrame(kChildSocket, Answer(**instance, *call), {}).ok()) EndGroup();
  }
}

}  // namespace volery::plugin
