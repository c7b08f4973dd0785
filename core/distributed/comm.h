#pragma once
// Comm: the few collectives that data-parallel training needs, over any number of ranks. Every rank must call
// the same functions in the same order; each call ends by its deadline (set where the Comm is made) with an
// error that names the operation and, where it can be known, the ranks that did not arrive. After an error a
// Comm is of no use any more. One thread a Comm. Makers: SingleComm, ConnectGloo; a NCCL one would implement
// the same class.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "core/base/queue.h"
#include "core/base/status.h"

namespace volery::distributed {

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;

  // In place; every rank ends with the same bits. `what` names the operation in errors ("gradients").
  virtual Status AllReduceSum(at::Tensor tensor, const std::string& what) = 0;
  // In place: every rank ends with root's values. Shape and dtype must agree.
  virtual Status Broadcast(at::Tensor tensor, int root, const std::string& what) = 0;
  // Returns root's bytes; what others pass is ignored.
  virtual StatusOr<std::string> BroadcastBytes(const std::string& bytes, int root,
                                               const std::string& what) = 0;
  virtual Status Barrier(const std::string& what) = 0;

  // Rank 0 tells the others what to do next; they wait in AwaitAnnouncement, without a deadline of their own,
  // until a message, the stop token or the loss of rank 0. Messages arrive in order, each once on every other
  // rank.
  virtual Status Announce(const std::string& message) = 0;
  virtual StatusOr<std::string> AwaitAnnouncement(const base::StopToken& stop) = 0;
  // Rank 0, before it goes away: until the others have read every announcement. Error: DeadlineExceeded.
  virtual Status AwaitReaders(int64_t timeout_ms) = 0;

  // One entry a rank, in the order of ranks.
  StatusOr<std::vector<std::string>> AllGatherBytes(const std::string& bytes, const std::string& what);
};

}  // namespace volery::distributed
