#include "core/distributed/gloo_comm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/distributed/single_comm.h"
#include "core/tensor/guard.h"

namespace volery::distributed {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

std::vector<uint8_t> ToBytes(const std::string& text) {
  return {text.begin(), text.end()};
}
std::string ToText(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}
std::string ProgressKey(int rank) {
  return Cat("progress/", rank);
}
std::string ReadKey(int rank) {
  return Cat("read/", rank);
}

int64_t ReadNumber(c10d::Store& store, const std::string& key) {
  return store.check({key}) ? std::atoll(ToText(store.get(key)).c_str()) : -1;
}

// The ranks whose last collective is an earlier one than `number`, as "1, 3".
std::string MissingRanks(c10d::Store& store, int world, int64_t number) {
  std::string out;
  for (int rank = 0; rank < world; ++rank) {
    if (ReadNumber(store, ProgressKey(rank)) < number) out += Cat(out.empty() ? "" : ", ", rank);
  }
  return out;
}

class GlooComm : public Comm {
 public:
  GlooComm(RankSettings ranks, CommOptions options, StorePtr store,
           c10::intrusive_ptr<c10d::ProcessGroupGloo> group)
      : ranks_(std::move(ranks)), options_(options), store_(std::move(store)), group_(std::move(group)) {}

  int rank() const override { return ranks_.rank; }
  int world() const override { return ranks_.world; }

  Status AllReduceSum(at::Tensor tensor, const std::string& what) override {
    return Run("all-reduce", what, [&] {
      std::vector<at::Tensor> tensors{tensor};
      return group_->allreduce(tensors, c10d::AllreduceOptions());
    });
  }

  Status Broadcast(at::Tensor tensor, int root, const std::string& what) override {
    return Run("broadcast", what, [&] {
      std::vector<at::Tensor> tensors{tensor};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      return group_->broadcast(tensors, options);
    });
  }

  StatusOr<std::string> BroadcastBytes(const std::string& bytes, int root, const std::string& what) override {
    at::Tensor size = at::empty({1}, at::kLong);
    size.fill_(rank() == root ? static_cast<int64_t>(bytes.size()) : 0);
    VOLERY_RETURN_IF_ERROR(Broadcast(size, root, what));
    const int64_t count = size.item<int64_t>();
    if (count == 0) return std::string();
    at::Tensor payload = at::empty({count}, at::kByte);
    if (rank() == root) std::memcpy(payload.data_ptr(), bytes.data(), bytes.size());
    VOLERY_RETURN_IF_ERROR(Broadcast(payload, root, what));
    return std::string(static_cast<const char*>(payload.const_data_ptr()), static_cast<size_t>(count));
  }

  Status Barrier(const std::string& what) override { return AllReduceSum(at::zeros({1}), what); }

  Status Announce(const std::string& message) override {
    return tensor::Guard("announcing to the other ranks",
                         [&] { store_->set(Cat("announce/", announced_++), ToBytes(message)); });
  }

  StatusOr<std::string> AwaitAnnouncement(const base::StopToken& stop) override {
    const std::string key = Cat("announce/", announced_);
    auto result = tensor::Guard(
        Cat("rank ", rank(), " lost rank 0 while it waited for work"), [&]() -> StatusOr<std::string> {
          for (milliseconds pause(1); !store_->check({key}); pause = std::min(pause * 2, milliseconds(32))) {
            if (stop.stopped()) return stop.reason();
            std::this_thread::sleep_for(pause);
          }
          const std::string message = ToText(store_->get(key));
          store_->set(ReadKey(rank()), ToBytes(Cat(announced_)));
          return message;
        });
    if (result.ok()) ++announced_;
    return result;
  }

  Status AwaitReaders(int64_t timeout_ms) override {
    const auto deadline = Clock::now() + milliseconds(timeout_ms);
    return tensor::Guard("waiting for the other ranks to read", [&]() -> Status {
      for (int rank = 1; rank < world(); ++rank) {
        while (ReadNumber(*store_, ReadKey(rank)) < announced_ - 1) {
          if (Clock::now() > deadline)
            return DeadlineError("rank ", rank, " didn't read what rank 0 announced within ", timeout_ms,
                                 " ms");
          std::this_thread::sleep_for(milliseconds(2));
        }
      }
      return OkStatus();
    });
  }

 private:
  template <class Start>
  Status Run(const char* operation, const std::string& what, Start start) {
    const int64_t number = collectives_++;
    const auto begin = Clock::now();
    const Status status = tensor::Guard(Cat(operation, " of ", what), [&] {
      store_->set(ProgressKey(rank()), ToBytes(Cat(number)));
      start()->wait(milliseconds(options_.timeout_ms));
    });
    return status.ok() ? status : Explain(status, number, Clock::now() - begin);
  }

  Status Explain(const Status& status, int64_t number, Clock::duration took) {
    const std::string where = Cat("rank ", rank(), " of ", world(), ", collective ", number);
    auto missing = tensor::Guard("asking the store", [&] { return MissingRanks(*store_, world(), number); });
    const std::string peers = !missing.ok()      ? Cat("; rank 0's store at ", ranks_.master_address, ":",
                                                       ranks_.master_port, " doesn't answer")
                              : missing->empty() ? ""
                                                 : Cat("; not arrived: ranks ", *missing);
    const std::string message = Cat(where, ": ", Message(status), peers);
    if (took >= milliseconds(options_.timeout_ms))
      return DeadlineError(message, "; nothing for ", options_.timeout_ms, " ms");
    return Status(StatusCode::kUnavailable, message);
  }

  const RankSettings ranks_;
  const CommOptions options_;
  StorePtr store_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  int64_t collectives_ = 1;  // number of the next one; 0 is reached by arriving
  int64_t announced_ = 0;
};

bool IsLoopback(const std::string& address) {
  return address == "localhost" || address.rfind("127.", 0) == 0 || address == "::1";
}

StorePtr OpenStore(const RankSettings& ranks, const CommOptions& options) {
  c10d::TCPStoreOptions store;
  store.port = ranks.master_port;
  store.isServer = ranks.rank == 0 && !ranks.store_is_running;
  store.numWorkers = static_cast<size_t>(ranks.world);
  store.waitWorkers = false;
  store.timeout = milliseconds(options.connect_timeout_ms);
  StorePtr tcp = c10::make_intrusive<c10d::TCPStore>(ranks.master_address, store);
  return c10::make_intrusive<c10d::PrefixStore>("volery/" + ranks.prefix, tcp);
}

std::shared_ptr<gloo::transport::Device> OpenDevice(const RankSettings& ranks) {
  if (IsLoopback(ranks.master_address)) return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

// Every rank shows up in the store first, so that a missing one is named instead of a socket that never
// opened.
Status AwaitRanks(c10d::Store& store, const RankSettings& ranks, const CommOptions& options) {
  store.set(ProgressKey(ranks.rank), ToBytes("0"));
  const auto deadline = Clock::now() + milliseconds(options.connect_timeout_ms);
  for (;;) {
    const std::string missing = MissingRanks(store, ranks.world, 0);
    if (missing.empty()) return OkStatus();
    if (Clock::now() > deadline) {
      return DeadlineError("ranks ", missing, " of ", ranks.world, " didn't arrive at ", ranks.master_address,
                           ":", ranks.master_port, " within ", options.connect_timeout_ms,
                           " ms; start one process a rank");
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
}

}  // namespace

StatusOr<std::unique_ptr<Comm>> ConnectGloo(const RankSettings& ranks, const CommOptions& options) {
  const std::string what = Cat("rank ", ranks.rank, " of ", ranks.world, " meeting at ", ranks.master_address,
                               ":", ranks.master_port);
  return tensor::Guard(what, [&]() -> StatusOr<std::unique_ptr<Comm>> {
    StorePtr store = OpenStore(ranks, options);
    VOLERY_RETURN_IF_ERROR(AwaitRanks(*store, ranks, options));
    auto group_options = c10d::ProcessGroupGloo::Options::create(milliseconds(options.timeout_ms));
    group_options->devices.push_back(OpenDevice(ranks));
    auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(
        c10::make_intrusive<c10d::PrefixStore>("gloo", store), ranks.rank, ranks.world, group_options);
    return std::make_unique<GlooComm>(ranks, options, std::move(store), std::move(group));
  });
}

StatusOr<std::unique_ptr<Comm>> Connect(const RankSettings& ranks, const CommOptions& options) {
  if (ranks.world == 1) return std::make_unique<SingleComm>();
  return ConnectGloo(ranks, options);
}

}  // namespace volery::distributed
