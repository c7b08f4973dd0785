#pragma once
// Comm over LibTorch's Gloo process group: CPU tensors, TCP between ranks, a TCP store on rank 0's machine as
// the meeting point. CUDA tensors need another Comm.
//
//   VOLERY_ASSIGN_OR_RETURN(RankSettings ranks, RanksFromEnvironment());
//   VOLERY_ASSIGN_OR_RETURN(std::unique_ptr<Comm> comm, Connect(ranks, {}));

#include <memory>

#include "core/distributed/comm.h"
#include "core/distributed/ranks.h"

namespace volery::distributed {

struct CommOptions {
  int64_t connect_timeout_ms = 120'000;  // for all ranks to arrive
  int64_t timeout_ms = 600'000;          // of one collective
};

// Blocks until all ranks are there. Loopback addresses stay on loopback; else the interface is
// GLOO_SOCKET_IFNAME's or the one of this machine's host name. Errors: DeadlineExceeded naming the missing
// ranks, the network's reason.
StatusOr<std::unique_ptr<Comm>> ConnectGloo(const RankSettings& ranks, const CommOptions& options);

// SingleComm for one rank, else ConnectGloo.
StatusOr<std::unique_ptr<Comm>> Connect(const RankSettings& ranks, const CommOptions& options);

}  // namespace volery::distributed
