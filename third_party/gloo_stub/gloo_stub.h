#pragma once
// Just enough of gloo's types for LibTorch's ProcessGroupGloo.hpp to parse: the torch wheel ships that
// header, but not gloo's own. Class layouts there hold only shared and unique pointers to these types, and
// every function behind them is exported by libtorch_cpu.so. Check again when the torch pin moves:
// tests/unit/distributed runs real collectives.

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace gloo {

struct Context {
  void setTimeout(std::chrono::milliseconds timeout);
};
struct Exception : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace transport {
struct Device {
  virtual ~Device();
};
struct UnboundBuffer {
  virtual ~UnboundBuffer();
};
}  // namespace transport

namespace rendezvous {
struct Store {
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace rendezvous

}  // namespace gloo
