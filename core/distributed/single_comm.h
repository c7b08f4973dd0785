#pragma once
// The Comm of a run with one rank: every collective is the identity.

#include "core/distributed/comm.h"

namespace volery::distributed {

class SingleComm : public Comm {
 public:
  int rank() const override { return 0; }
  int world() const override { return 1; }
  Status AllReduceSum(at::Tensor, const std::string&) override { return OkStatus(); }
  Status Broadcast(at::Tensor, int, const std::string&) override { return OkStatus(); }
  StatusOr<std::string> BroadcastBytes(const std::string& bytes, int, const std::string&) override {
    return bytes;
  }
  Status Barrier(const std::string&) override { return OkStatus(); }
  Status Announce(const std::string&) override { return OkStatus(); }
  StatusOr<std::string> AwaitAnnouncement(const base::StopToken&) override {
    return PreconditionError("a run with one rank has no followers");
  }
  Status AwaitReaders(int64_t) override { return OkStatus(); }
};

}  // namespace volery::distributed
