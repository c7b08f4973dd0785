#pragma once
// Tokenised text as RWKV's trainers read it ("binidx", Megatron's indexed dataset): PREFIX.bin holds all
// tokens one after another, PREFIX.idx says where items and documents begin. The reader shows the tokens as
// spans of the mapped file and checks the index against it; token values themselves aren't looked at.
//
//   VOLERY_ASSIGN_OR_RETURN(auto data, Binidx::Open("data/minipile"));
//   std::vector<int32_t> sample(context + 1);
//   data.view().Copy(offset, sample);
//
// For the order in which RWKV-LM takes its samples see core/data/magic_prime.h.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/base/files.h"
#include "core/base/status.h"
#include "core/formats/dtype.h"

namespace volery::formats {

struct TokenRange {
  int64_t begin = 0, end = 0;  // positions in the stream of all tokens
};

// Points into both files. Items lie in the stream in their order, without holes; a document is a run of items
// (in RWKV's own files: one item, whose last token is 0, the end of a document).
class BinidxView {
 public:
  DType dtype() const { return dtype_; }  // kU16 or kI32
  int64_t token_count() const { return token_count_; }
  int64_t item_count() const { return item_count_; }
  int64_t document_count() const { return document_count_; }

  // CHECK-fails where the index isn't in [0, count).
  TokenRange Item(int64_t index) const;
  TokenRange Document(int64_t index) const;

  // All tokens; CHECK-fails for the other dtype.
  std::span<const uint16_t> U16() const;
  std::span<const int32_t> I32() const;
  // out.size() tokens from `begin`, as int32; CHECK-fails outside [0, token_count).
  void Copy(int64_t begin, std::span<int32_t> out) const;

 private:
  friend StatusOr<BinidxView> ParseBinidx(std::span<const std::byte>, std::span<const std::byte>,
                                          const std::string&);

  int64_t ItemBegin(int64_t index) const;  // in tokens; also for index = item_count

  DType dtype_ = DType::kU16;
  int64_t token_count_ = 0, item_count_ = 0, document_count_ = 0;
  std::span<const std::byte> pointers_, documents_, tokens_;
};

// `where` names the pair of files (their common prefix) in messages. `bin` must begin at an address that is a
// multiple of 4, as mapped files do. InvalidArgument: another magic, version or element type (uint16 and
// int32 are read), counts that don't fit the .idx file, sizes and pointers that leave the .bin file or leave
// holes in it, a .bin file that is longer or shorter than its index says, document indices out of order. Time
// is linear in the .idx file. Thread-safe.
StatusOr<BinidxView> ParseBinidx(std::span<const std::byte> idx, std::span<const std::byte> bin,
                                 const std::string& where);

// Both files, mapped.
class Binidx {
 public:
  // `prefix` is the path without ".idx" and ".bin". Errors: those of ParseBinidx and of the file system.
  static StatusOr<Binidx> Open(const std::string& prefix);
  const BinidxView& view() const { return view_; }

 private:
  Binidx(std::shared_ptr<base::MappedFile> idx, std::shared_ptr<base::MappedFile> bin, BinidxView view)
      : idx_(std::move(idx)), bin_(std::move(bin)), view_(std::move(view)) {}

  std::shared_ptr<base::MappedFile> idx_, bin_;
  BinidxView view_;
};

}  // namespace volery::formats
