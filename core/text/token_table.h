#pragma once
// The bytes that ids stand for, laid out for decoding: short tokens stand in the table itself, one read each.
// Immutable; thread-safe.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace volery::text {

class TokenTable {
 public:
  TokenTable() = default;
  // Bytes and mark by id; both of one length.
  TokenTable(const std::vector<std::string>& bytes, const std::vector<bool>& special);

  int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  std::string_view Bytes(int32_t id) const;  // empty for ids without a token
  bool IsSpecial(int32_t id) const;          // false for ids without a token
  // The tokens' bytes one after the other, broken UTF-8 replaced; ids without a token are passed over.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

 private:
  static constexpr size_t kInline = 15;
  struct Entry {
    char bytes[kInline];  // of a long token: its place in long_
    uint8_t size : 4;     // kLong: a long token
    uint8_t special : 1;
    uint8_t broken : 1;  // not a sequence of whole characters
  };
  static_assert(sizeof(Entry) == 16);
  static constexpr uint8_t kLong = 15;

  const Entry* Find(int32_t id) const {
    return static_cast<size_t>(static_cast<uint32_t>(id)) < entries_.size()
               ? &entries_[static_cast<uint32_t>(id)]
               : nullptr;
  }
  std::string_view Bytes(const Entry& entry) const;

  std::vector<Entry> entries_;
  std::vector<std::string> long_;
};

}  // namespace volery::text
