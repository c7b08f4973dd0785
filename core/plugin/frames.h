#pragma once
// Frames (32-bit length, then bytes) over a stream socket, with a deadline on every wait.

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/status.h"

namespace volery::plugin {

// When a wait ends without having got what it waits for.
struct FrameLimit {
  int64_t timeout_ms = -1;               // from the call; negative: none
  std::function<bool()> cancelled = {};  // asked every 20 ms
};

// Errors: DeadlineExceeded; Cancelled; Unavailable when the other side closed; DataLoss for a frame over the
// limit; Internal with the system's reason.
Status SendFrame(int socket, const std::string& bytes, const FrameLimit& limit);
StatusOr<std::string> ReceiveFrame(int socket, const FrameLimit& limit);

}  // namespace volery::plugin
