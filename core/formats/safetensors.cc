#include "core/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "core/base/json.h"

namespace volery::formats {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kLengthBytes = 8;
constexpr int kMaxDepth = 8;
constexpr char kMetadataKey[] = "__metadata__";

// Looks for a key that stands twice in one object (JSON itself would keep the last one in silence). As a handler of
// parse events: a callback that may discard values makes nlohmann's parser quadratic in the entries of an object.
class TwiceFinder : public json::json_sax_t {
 public:
  const std::optional<std::string>& twice() const { return twice_; }

  bool start_object(size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second && !twice_) twice_ = name;
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const json::exception&) override { return false; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::optional<std::string> twice_;
};

StatusOr<json> ParseObject(std::string_view text, const std::string& where) {
  VOLERY_RETURN_IF_ERROR(base::CheckJsonDepth(text, where, kMaxDepth));
  try {
    json document = json::parse(text);
    TwiceFinder finder;
    json::sax_parse(text, &finder);
    if (finder.twice()) return InvalidError(where, ": key \"", *finder.twice(), "\" stands twice in the JSON header");
    if (!document.is_object()) return InvalidError(where, ": the JSON header is no object");
    return document;
  } catch (const json::exception& e) {
    return InvalidError(where, ": no valid JSON: ", e.what());
  }
}

StatusOr<std::string_view> HeaderText(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kLengthBytes) {
    return InvalidError(where, ": ", bytes.size(),
                        " bytes is too short for a safetensors file (8 bytes of header length come first)");
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMaxHeader) {
    return InvalidError(where, ": header length ", length, " is above the limit of ", kMaxHeader,
                        "; this is no safetensors file, or it is damaged");
  }
  if (length > bytes.size() - kLengthBytes) {
    return InvalidError(where, ": header length ", length, " runs past the end of the file (", bytes.size(),
                        " bytes); is it truncated?");
  }
  std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  size_t last = text.find_last_not_of(' ');
  if (last == std::string_view::npos || text.front() != '{' || text[last] != '}' ||
      text.find('\0') != std::string_view::npos) {
    return InvalidError(where, ": the header of ", length,
                        " bytes is no JSON object (must be {...}, padded with spaces only)");
  }
  return text.substr(0, last + 1);
}

Status ReadMetadata(const json& entry, const std::string& where, SafetensorsView* view) {
  if (!entry.is_object()) return InvalidError(where, ": ", kMetadataKey, " is no object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string())
      return InvalidError(where, ": ", kMetadataKey, " entry \"", key, "\" is no string");
    view->metadata[key] = value.get<std::string>();
  }
  return OkStatus();
}

// Reads a non-negative integer below 2^63.
bool ReadNumber(const json& value, int64_t* number) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return false;
  *number = static_cast<int64_t>(value.get<uint64_t>());
  return true;
}

struct Entry {
  SafetensorsTensor tensor;
  int64_t begin = 0, end = 0;
};

Status ReadShape(const json& entry, const std::string& at, SafetensorsTensor* tensor) {
  auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) return InvalidError(at, " has no dtype");
  std::optional<DType> known = DTypeFromName(dtype->get<std::string>());
  if (!known) return InvalidError(at, " has the unknown dtype \"", dtype->get<std::string>(), "\"");
  tensor->dtype = *known;
  auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array()) return InvalidError(at, " has no shape");
  for (const json& size : *shape) {
    int64_t number = 0;
    if (!ReadNumber(size, &number))
      return InvalidError(at, " has a shape entry that is no size: ", size.dump(-1, ' ', true));
    tensor->shape.push_back(number);
  }
  return OkStatus();
}

Status ReadEntry(const json& entry, const std::string& at, int64_t data_size, Entry* out) {
  if (!entry.is_object()) return InvalidError(at, " is described by something that is no object");
  VOLERY_RETURN_IF_ERROR(ReadShape(entry, at, &out->tensor));
  auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !ReadNumber((*offsets)[0], &out->begin) || !ReadNumber((*offsets)[1], &out->end)) {
    return InvalidError(at, " has no data_offsets of two sizes");
  }
  if (out->begin > out->end || out->end > data_size) {
    return InvalidError(at, " has data_offsets [", out->begin, ", ", out->end, "], outside the ", data_size,
                        " bytes of data in the file; is it truncated?");
  }
  std::optional<int64_t> need = ByteCount(out->tensor.dtype, out->tensor.shape);
  if (!need) return InvalidError(at, " has a shape whose product overflows 64 bits");
  if (*need != out->end - out->begin) {
    return InvalidError(at, " needs ", *need, " bytes by its shape and dtype but data_offsets give it ",
                        out->end - out->begin);
  }
  return OkStatus();
}

Status CheckContiguous(const std::vector<Entry>& entries, int64_t data_size, const std::string& where) {
  int64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end) {
      return InvalidError(where, ": tensor \"", entry.tensor.name, "\" begins at ", entry.begin,
                          " of the data but the one before it ends at ", end,
                          (entry.begin < end ? " (they overlap)" : " (a hole)"));
    }
    end = entry.end;
  }
  if (end != data_size) {
    return InvalidError(where, ": the tensors end at ", end, " of the data but the file holds ", data_size,
                        " bytes of it");
  }
  return OkStatus();
}

}  // namespace

const SafetensorsTensor* SafetensorsView::Find(std::string_view name) const {
  auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : &tensors[found->second];
}

StatusOr<SafetensorsView> ParseSafetensors(std::span<const std::byte> bytes, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(std::string_view text, HeaderText(bytes, where));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), kLengthBytes);
  std::span<const std::byte> data = bytes.subspan(kLengthBytes + header);
  VOLERY_ASSIGN_OR_RETURN(json document, ParseObject(text, where));

  SafetensorsView view;
  std::vector<Entry> entries;
  for (const auto& [name, value] : document.items()) {
    if (name == kMetadataKey) {
      VOLERY_RETURN_IF_ERROR(ReadMetadata(value, where, &view));
      continue;
    }
    Entry entry;
    entry.tensor.name = name;
    VOLERY_RETURN_IF_ERROR(
        ReadEntry(value, Cat(where, ": tensor \"", name, "\""), static_cast<int64_t>(data.size()), &entry));
    entries.push_back(std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  VOLERY_RETURN_IF_ERROR(CheckContiguous(entries, static_cast<int64_t>(data.size()), where));
  for (Entry& entry : entries) {
    entry.tensor.bytes = data.subspan(entry.begin, entry.end - entry.begin);
    view.by_name.emplace(entry.tensor.name, view.tensors.size());
    view.tensors.push_back(std::move(entry.tensor));
  }
  return view;
}

std::vector<std::string> SafetensorsIndex::Files() const {
  std::set<std::string> files;
  for (const auto& [tensor, file] : weight_map) files.insert(file);
  return {files.begin(), files.end()};
}

StatusOr<SafetensorsIndex> ParseSafetensorsIndex(std::string_view text, const std::string& where) {
  VOLERY_ASSIGN_OR_RETURN(json document, ParseObject(text, where));
  auto map = document.find("weight_map");
  if (map == document.end() || !map->is_object()) {
    return InvalidError(where, ": no \"weight_map\" object; this is no safetensors index");
  }
  SafetensorsIndex index;
  for (const auto& [tensor, value] : map->items()) {
    if (!value.is_string()) return InvalidError(where, ": weight_map entry \"", tensor, "\" is no file name");
    std::string file = value.get<std::string>();
    if (file.empty() || file == "." || file == ".." ||
        file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      return InvalidError(where, ": weight_map entry \"", tensor, "\" names \"", file,
                          "\", which is no plain file name; files outside the folder are not opened");
    }
    index.weight_map[tensor] = file;
  }
  auto metadata = document.find("metadata");
  if (metadata != document.end() && metadata->is_object() && metadata->contains("total_size")) {
    const json& size = (*metadata)["total_size"];
    // Some writers store it as a floating-point number; it is only informative.
    if (size.is_number_unsigned()) index.total_size = size.get<uint64_t>();
  }
  return index;
}

std::string FormatSafetensorsIndex(const SafetensorsIndex& index) {
  nlohmann::ordered_json document;
  document["metadata"]["total_size"] = index.total_size;
  document["weight_map"] = nlohmann::ordered_json::object();
  for (const auto& [tensor, file] : index.weight_map) document["weight_map"][tensor] = file;
  return document.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace volery::formats
