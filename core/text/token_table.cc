#include "core/text/token_table.h"

#include <cstring>

#include "core/base/status.h"
#include "core/text/utf8.h"

namespace volery::text {

TokenTable::TokenTable(const std::vector<std::string>& bytes, const std::vector<bool>& special)
    : entries_(bytes.size()) {
  VOLERY_CHECK(bytes.size() == special.size());
  for (size_t id = 0; id < bytes.size(); ++id) {
    Entry& entry = entries_[id];
    entry.special = special[id];
    entry.broken = !IsValidUtf8(bytes[id]);
    if (bytes[id].size() < kLong) {
      entry.size = static_cast<uint8_t>(bytes[id].size()) & 15;
      std::memcpy(entry.bytes, bytes[id].data(), bytes[id].size());
    } else {
      const size_t place = long_.size();
      entry.size = kLong;
      std::memcpy(entry.bytes, &place, sizeof place);
      long_.push_back(bytes[id]);
    }
  }
}

std::string_view TokenTable::Bytes(const Entry& entry) const {
  if (entry.size != kLong) return {entry.bytes, entry.size};
  size_t place;
  std::memcpy(&place, entry.bytes, sizeof place);
  return long_[place];
}

std::string_view TokenTable::Bytes(int32_t id) const {
  const Entry* entry = Find(id);
  return entry != nullptr ? Bytes(*entry) : std::string_view();
}

bool TokenTable::IsSpecial(int32_t id) const {
  const Entry* entry = Find(id);
  return entry != nullptr && entry->special;
}

std::string TokenTable::Decode(std::span<const int32_t> ids, bool skip_special) const {
  const auto taken = [&](int32_t id) -> const Entry* {
    const Entry* entry = Find(id);
    return entry != nullptr && !(skip_special && entry->special) ? entry : nullptr;
  };
  size_t size = 0;
  bool broken = false;
  for (const int32_t id : ids) {
    const Entry* entry = taken(id);
    if (entry == nullptr) continue;
    size += entry->size != kLong ? entry->size : Bytes(*entry).size();
    broken |= entry->broken;
  }
  // Short tokens are copied as whole entries, so the last may run over by up to 16 bytes.
  std::string out(size + sizeof(Entry), '\0');
  char* to = out.data();
  for (const int32_t id : ids) {
    const Entry* entry = taken(id);
    if (entry == nullptr) continue;
    if (entry->size != kLong) {
      std::memcpy(to, entry, sizeof(Entry));
      to += entry->size;
    } else {
      const std::string_view bytes = Bytes(*entry);
      std::memcpy(to, bytes.data(), bytes.size());
      to += bytes.size();
    }
  }
  out.resize(size);
  return broken && !IsValidUtf8(out) ? ReplaceInvalidUtf8(out) : out;
}

}  // namespace volery::text
