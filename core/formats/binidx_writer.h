#pragma once
// Writes a binidx pair (see binidx.h) document by document; of each only its size stays in memory. Both files
// are written beside their places; Finish syncs them to disk and renames them.
//
//   VOLERY_ASSIGN_OR_RETURN(auto writer, BinidxWriter::Open("data/train", DType::kU16));
//   VOLERY_RETURN_IF_ERROR(writer->Append(tokens));   // the end-of-document token 0 is the caller's to
//   append VOLERY_RETURN_IF_ERROR(writer->Finish());

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/formats/dtype.h"
#include "core/formats/output_file.h"

namespace volery::formats {

// One thread at a time.
class BinidxWriter {
 public:
  // `prefix` is the path without ".idx" and ".bin"; `dtype` kU16 or kI32 (CHECKed). The reference tools take
  // uint16 for vocabularies below 65500.
  static StatusOr<std::unique_ptr<BinidxWriter>> Open(const std::string& prefix, DType dtype);
  ~BinidxWriter();  // removes what Finish hasn't put in place
  BinidxWriter(const BinidxWriter&) = delete;
  BinidxWriter& operator=(const BinidxWriter&) = delete;

  // One document of one item. InvalidArgument, and nothing written: a token that is negative or above the
  // type's largest, more tokens than an int32 counts. Other errors: the disk.
  Status Append(std::span<const int32_t> tokens);

  // Puts both files in place of earlier ones: the old index is removed first, the new one comes last, so that
  // a crash leaves the old pair, the new pair, or a .bin file without an index, never two that don't belong
  // together.
  Status Finish();

  int64_t token_count() const { return token_count_; }
  int64_t document_count() const { return static_cast<int64_t>(sizes_.size()); }

 private:
  BinidxWriter(std::string prefix, DType dtype, std::unique_ptr<OutputFile> bin);
  Status WriteIndex();

  const std::string prefix_, idx_path_;  // of the temporary index
  const DType dtype_;
  std::unique_ptr<OutputFile> bin_;
  std::vector<int32_t> sizes_;
  std::vector<uint16_t> narrow_;  // of one document
  int64_t token_count_ = 0;
  bool finished_ = false;
};

}  // namespace volery::formats
