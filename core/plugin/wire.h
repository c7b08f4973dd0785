#pragma once
// Messages between the host and a reward's child process: little numbers and strings in a flat buffer, each
// message in a frame of its length (32 bits). Both sides are the same executable, so there is no version; the
// reader still checks every bound, because the child runs foreign code.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/base/status.h"
#include "core/plugin/host_services.h"
#include "core/plugin/reward_types.h"

namespace volery::plugin {

inline constexpr uint32_t kMaxFrameBytes = 256u << 20;

class WireWriter {
 public:
  template <class T>
  void Put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void PutText(const std::string& text) {
    Put<uint64_t>(text.size());
    bytes_ += text;
  }
  template <class T>
  void PutList(const std::vector<T>& list) {
    static_assert(std::is_trivially_copyable_v<T>);
    Put<uint64_t>(list.size());
    if (!list.empty()) bytes_.append(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads past the end give zeros and make ok() false for good.
class WireReader {
 public:
  explicit WireReader(const std::string& bytes) : bytes_(bytes) {}
  template <class T>
  T Get() {
    T value{};
    if (Has(sizeof(T))) {
      std::memcpy(&value, bytes_.data() + at_, sizeof(T));
      at_ += sizeof(T);
    }
    return value;
  }
  std::string GetText() {
    const auto size = Get<uint64_t>();
    if (!Has(size)) return {};
    std::string out = bytes_.substr(at_, size);
    at_ += size;
    return out;
  }
  template <class T>
  std::vector<T> GetList() {
    const auto count = Get<uint64_t>();
    if (count > (bytes_.size() - at_) / sizeof(T)) ok_ = false;
    if (!ok_) return {};
    std::vector<T> out(count);
    if (count > 0) std::memcpy(out.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return out;
  }
  // A count of things that take at least one byte each.
  uint64_t GetCount() {
    const auto count = Get<uint64_t>();
    return Has(count) ? count : 0;
  }
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && at_ == bytes_.size(); }

 private:
  bool Has(uint64_t size) {
    if (size > bytes_.size() - at_) ok_ = false;
    return ok_;
  }
  const std::string& bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

struct ChildCall {
  bool whole_group = false;
  int64_t limit_ms = 0;
  std::vector<RewardSample> samples;
};
struct ChildReply {
  std::vector<RewardResult> results;  // one a sample
  std::map<std::string, HostServices::Sum> metrics;
};

std::string EncodeCall(const ChildCall& call);
StatusOr<ChildCall> DecodeCall(const std::string& bytes);
std::string EncodeReply(const ChildReply& reply);
// Errors (DataLoss): not `samples` results, values out of range, wrong length.
StatusOr<ChildReply> DecodeReply(const std::string& bytes, size_t samples);

}  // namespace volery::plugin
