#include "core/formats/binidx.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/formats/binidx_layout.h"

namespace volery::formats {
namespace {

using Bytes = std::span<const std::byte>;

// The caller has checked that the bytes are there; nothing in an .idx file is aligned.
template <class T>
T Load(Bytes bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// By Megatron's numbers.
const char* TypeName(uint8_t code) {
  constexpr const char* kNames[] = {"uint8", "int8",    "int16",   "int32",
                                    "int64", "float64", "float32", "uint16"};
  return code >= 1 && code <= std::size(kNames) ? kNames[code - 1] : "unknown";
}

struct Header {
  DType dtype = DType::kU16;
  uint64_t items = 0, boundaries = 0;
};

StatusOr<Header> ReadHeader(Bytes idx, const std::string& at) {
  const std::string_view text(reinterpret_cast<const char*>(idx.data()), idx.size());
  if (!text.starts_with(kBinidxMagic)) {
    return InvalidError(at, " doesn't begin with \"MMIDIDX\"; this is no binidx index");
  }
  if (idx.size() < kBinidxHeader) {
    return InvalidError(at, " of ", idx.size(), " bytes is shorter than its header of ", kBinidxHeader,
                        "; is it truncated?");
  }
  const uint64_t version = Load<uint64_t>(idx, 9);
  if (version != kBinidxVersion)
    return InvalidError(at, " has version ", version, "; only version 1 is read");
  const uint8_t code = Load<uint8_t>(idx, 17);
  if (code != kBinidxU16 && code != kBinidxI32) {
    return InvalidError(at, " says that tokens are of type ", int{code}, " (", TypeName(code),
                        "); uint16 (8) and int32 (4) are read");
  }
  return Header{code == kBinidxU16 ? DType::kU16 : DType::kI32, Load<uint64_t>(idx, 18),
                Load<uint64_t>(idx, 26)};
}

// Exactly a size and a pointer per item and one document boundary each must follow the header.
Status CheckCounts(const Header& header, uint64_t rest, const std::string& at) {
  constexpr uint64_t kItem = sizeof(int32_t) + sizeof(int64_t), kBoundary = sizeof(int64_t);
  if (header.items > rest / kItem || header.boundaries > rest / kBoundary ||
      header.items * kItem + header.boundaries * kBoundary != rest) {
    return InvalidError(at, " says ", header.items, " items and ", header.boundaries,
                        " document boundaries, but the ", rest,
                        " bytes behind its header aren't as many; is it truncated?");
  }
  return OkStatus();
}

Status CheckItems(Bytes sizes, Bytes pointers, uint64_t bin_size, uint64_t width, const std::string& at) {
  uint64_t end = 0;
  for (uint64_t i = 0; i < sizes.size() / sizeof(int32_t); ++i) {
    const int32_t size = Load<int32_t>(sizes, i * sizeof(int32_t));
    const int64_t pointer = Load<int64_t>(pointers, i * sizeof(int64_t));
    if (size < 0) return InvalidError(at, " gives item ", i, " the size ", size);
    if (pointer < 0 || static_cast<uint64_t>(pointer) != end) {
      return InvalidError(at, " lets item ", i, " begin at byte ", pointer,
                          ", but the one before it ends at ", end);
    }
    end += static_cast<uint64_t>(size) * width;
    if (end > bin_size) {
      return InvalidError(at, " lets item ", i, " of ", size, " tokens end at byte ", end,
                          " of a .bin file of ", bin_size, " bytes; is that truncated?");
    }
  }
  if (end != bin_size) {
    return InvalidError(at, " describes ", end, " bytes of tokens but the .bin file holds ", bin_size,
                        "; the two files don't belong together");
  }
  return OkStatus();
}

Status CheckDocuments(Bytes boundaries, uint64_t items, const std::string& at) {
  int64_t before = 0;
  for (uint64_t i = 0; i < boundaries.size() / sizeof(int64_t); ++i) {
    const int64_t item = Load<int64_t>(boundaries, i * sizeof(int64_t));
    if (item < before || (i == 0 && item != 0) || static_cast<uint64_t>(item) > items) {
      return InvalidError(at, " has document boundary ", i, " at item ", item, " of ", items,
                          ", behind one at ", before);
    }
    before = item;
  }
  return OkStatus();
}

}  // namespace

int64_t BinidxView::ItemBegin(int64_t index) const {
  if (index == item_count_) return token_count_;
  return Load<int64_t>(pointers_, static_cast<uint64_t>(index) * sizeof(int64_t)) /
         static_cast<int64_t>(DTypeSize(dtype_));
}

TokenRange BinidxView::Item(int64_t index) const {
  VOLERY_CHECK(index >= 0 && index < item_count_);
  return {ItemBegin(index), ItemBegin(index + 1)};
}

TokenRange BinidxView::Document(int64_t index) const {
  VOLERY_CHECK(index >= 0 && index < document_count_);
  const uint64_t at = static_cast<uint64_t>(index) * sizeof(int64_t);
  return {ItemBegin(Load<int64_t>(documents_, at)),
          ItemBegin(Load<int64_t>(documents_, at + sizeof(int64_t)))};
}

std::span<const uint16_t> BinidxView::U16() const {
  VOLERY_CHECK(dtype_ == DType::kU16);
  return {reinterpret_cast<const uint16_t*>(tokens_.data()), static_cast<size_t>(token_count_)};
}

std::span<const int32_t> BinidxView::I32() const {
  VOLERY_CHECK(dtype_ == DType::kI32);
  return {reinterpret_cast<const int32_t*>(tokens_.data()), static_cast<size_t>(token_count_)};
}

void BinidxView::Copy(int64_t begin, std::span<int32_t> out) const {
  VOLERY_CHECK(begin >= 0 && begin <= token_count_ &&
               out.size() <= static_cast<uint64_t>(token_count_ - begin));
  const auto first = static_cast<size_t>(begin);
  if (dtype_ == DType::kU16) {
    std::ranges::copy(U16().subspan(first, out.size()), out.begin());
  } else {
    std::ranges::copy(I32().subspan(first, out.size()), out.begin());
  }
}

StatusOr<BinidxView> ParseBinidx(std::span<const std::byte> idx, std::span<const std::byte> bin,
                                 const std::string& where) {
  VOLERY_CHECK(reinterpret_cast<uintptr_t>(bin.data()) % alignof(int32_t) == 0);
  const std::string at = where + ".idx";
  VOLERY_ASSIGN_OR_RETURN(const Header header, ReadHeader(idx, at));
  const Bytes rest = idx.subspan(kBinidxHeader);
  VOLERY_RETURN_IF_ERROR(CheckCounts(header, rest.size(), at));
  const uint64_t width = DTypeSize(header.dtype);
  const Bytes sizes = rest.first(header.items * sizeof(int32_t));
  BinidxView view;
  view.pointers_ = rest.subspan(sizes.size(), header.items * sizeof(int64_t));
  view.documents_ = rest.subspan(sizes.size() + view.pointers_.size());
  view.tokens_ = bin;
  VOLERY_RETURN_IF_ERROR(CheckItems(sizes, view.pointers_, bin.size(), width, at));
  VOLERY_RETURN_IF_ERROR(CheckDocuments(view.documents_, header.items, at));
  view.dtype_ = header.dtype;
  view.token_count_ = static_cast<int64_t>(bin.size() / width);
  view.item_count_ = static_cast<int64_t>(header.items);
  view.document_count_ = std::max<int64_t>(static_cast<int64_t>(header.boundaries) - 1, 0);
  return view;
}

StatusOr<Binidx> Binidx::Open(const std::string& prefix) {
  VOLERY_ASSIGN_OR_RETURN(auto idx, base::MappedFile::Open(prefix + ".idx"));
  VOLERY_ASSIGN_OR_RETURN(auto bin, base::MappedFile::Open(prefix + ".bin"));
  VOLERY_ASSIGN_OR_RETURN(BinidxView view, ParseBinidx(idx->bytes(), bin->bytes(), prefix));
  return Binidx(std::move(idx), std::move(bin), std::move(view));
}

}  // namespace volery::formats
