#include "core/plugin/frames.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/plugin/wire.h"

namespace volery::plugin {
namespace {

constexpr int64_t kSliceMs = 20;

class Waiter {
 public:
  Waiter(int socket, const FrameLimit& limit)
      : socket_(socket), limit_(limit), start_(std::chrono::steady_clock::now()) {}

  // OK: the socket is ready for `events` (or closed).
  Status Wait(short events) {
    while (true) {
      if (limit_.cancelled && limit_.cancelled()) return CancelledError("cancelled");
      int64_t wait = limit_.cancelled ? kSliceMs : -1;
      if (limit_.timeout_ms >= 0) {
        const int64_t left = limit_.timeout_ms - Elapsed();
        if (left <= 0) return DeadlineError("no answer within ", limit_.timeout_ms, " ms");
        wait = wait < 0 ? left : std::min(wait, left);
      }
      pollfd descriptor{socket_, events, 0};
      const int ready = poll(&descriptor, 1, static_cast<int>(std::min<int64_t>(wait, 1 << 30)));
      if (ready > 0) return OkStatus();
      if (ready < 0 && errno != EINTR) return InternalError("poll: ", std::strerror(errno));
    }
  }

 private:
  int64_t Elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_)
        .count();
  }
  int socket_;
  const FrameLimit& limit_;
  std::chrono::steady_clock::time_point start_;
};

bool Again() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

Status SendAll(int socket, const char* data, size_t size, Waiter& waiter) {
  while (size > 0) {
    VOLERY_RETURN_IF_ERROR(waiter.Wait(POLLOUT));
    const ssize_t sent = send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && Again()) continue;
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
      return absl::UnavailableError("the other side closed");
    if (sent < 0) return InternalError("send: ", std::strerror(errno));
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return OkStatus();
}

Status ReceiveAll(int socket, char* data, size_t size, Waiter& waiter) {
  while (size > 0) {
    VOLERY_RETURN_IF_ERROR(waiter.Wait(POLLIN));
    const ssize_t got = recv(socket, data, size, MSG_DONTWAIT);
    if (got < 0 && Again()) continue;
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return absl::UnavailableError("the other side closed");
    if (got < 0) return InternalError("recv: ", std::strerror(errno));
    data += got;
    size -= static_cast<size_t>(got);
  }
  return OkStatus();
}

}  // namespace

Status SendFrame(int socket, const std::string& bytes, const FrameLimit& limit) {
  if (bytes.size() > kMaxFrameBytes)
    return InvalidError("a message of ", bytes.size(), " bytes is over the limit of ", kMaxFrameBytes);
  Waiter waiter(socket, limit);
  const auto size = static_cast<uint32_t>(bytes.size());
  VOLERY_RETURN_IF_ERROR(SendAll(socket, reinterpret_cast<const char*>(&size), sizeof(size), waiter));
  return SendAll(socket, bytes.data(), bytes.size(), waiter);
}

StatusOr<std::string> ReceiveFrame(int socket, const FrameLimit& limit) {
  Waiter waiter(socket, limit);
  uint32_t size = 0;
  VOLERY_RETURN_IF_ERROR(ReceiveAll(socket, reinterpret_cast<char*>(&size), sizeof(size), waiter));
  if (size > kMaxFrameBytes)
    return DataLossError("a frame claims ", size, " bytes; the limit is ", kMaxFrameBytes);
  std::string bytes;
  for (size_t have = 0; have < size;) {  // grown with what arrives: a lying length allocates nothing
    const size_t part = std::min<size_t>(size - have, 1 << 20);
    bytes.resize(have + part);
    VOLERY_RETURN_IF_ERROR(ReceiveAll(socket, bytes.data() + have, part, waiter));
    have += part;
  }
  return bytes;
}

}  // namespace volery::plugin
