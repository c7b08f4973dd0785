#include "core/formats/binidx_writer.h"

#include <unistd.h>

#include <filesystem>
#include <limits>
#include <utility>

#include "core/base/files.h"
#include "core/formats/binidx_layout.h"

namespace volery::formats {
namespace {

constexpr size_t kChunk = 8192;  // entries of the index that are put together before they are written

template <class T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// `count` values, value i being value_of(i) and asked for in order.
template <class T, class Function>
Status WriteArray(size_t count, Function value_of, OutputFile* file) {
  std::string chunk;
  for (size_t i = 0; i < count; ++i) {
    Put<T>(value_of(i), &chunk);
    if (chunk.size() < kChunk * sizeof(T) && i + 1 < count) continue;
    VOLERY_RETURN_IF_ERROR(file->Write(chunk));
    chunk.clear();
  }
  return OkStatus();
}

std::string Temporary(const std::string& path) {
  return Cat(path, ".tmp.", ::getpid());
}

}  // namespace

BinidxWriter::BinidxWriter(std::string prefix, DType dtype, std::unique_ptr<OutputFile> bin)
    : prefix_(std::move(prefix)),
      idx_path_(Temporary(prefix_ + ".idx")),
      dtype_(dtype),
      bin_(std::move(bin)) {}

StatusOr<std::unique_ptr<BinidxWriter>> BinidxWriter::Open(const std::string& prefix, DType dtype) {
  VOLERY_CHECK(dtype == DType::kU16 || dtype == DType::kI32);
  VOLERY_ASSIGN_OR_RETURN(auto bin, OutputFile::Create(Temporary(prefix + ".bin")));
  return std::unique_ptr<BinidxWriter>(new BinidxWriter(prefix, dtype, std::move(bin)));
}

BinidxWriter::~BinidxWriter() {
  if (finished_) return;
  ::unlink(bin_->path().c_str());
  ::unlink(idx_path_.c_str());
}

Status BinidxWriter::Append(std::span<const int32_t> tokens) {
  if (tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return InvalidError(prefix_, ": document ", sizes_.size(), " of ", tokens.size(),
                        " tokens is too long for the format");
  }
  const int32_t largest = dtype_ == DType::kU16 ? 0xffff : std::numeric_limits<int32_t>::max();
  for (int32_t token : tokens) {
    if (token < 0 || token > largest) {
      return InvalidError(prefix_, ": token ", token, " of document ", sizes_.size(), " isn't in 0 to ",
                          largest,
                          dtype_ == DType::kU16 ? "; write int32 tokens for a vocabulary of this size" : "");
    }
  }
  if (dtype_ == DType::kU16) {
    narrow_.assign(tokens.begin(), tokens.end());
    VOLERY_RETURN_IF_ERROR(bin_->Write(std::as_bytes(std::span(narrow_))));
  } else {
    VOLERY_RETURN_IF_ERROR(bin_->Write(std::as_bytes(tokens)));
  }
  sizes_.push_back(static_cast<int32_t>(tokens.size()));
  token_count_ += static_cast<int64_t>(tokens.size());
  return OkStatus();
}

Status BinidxWriter::WriteIndex() {
  VOLERY_ASSIGN_OR_RETURN(auto file, OutputFile::Create(idx_path_));
  std::string head(kBinidxMagic);
  Put<uint64_t>(kBinidxVersion, &head);
  Put<uint8_t>(dtype_ == DType::kU16 ? kBinidxU16 : kBinidxI32, &head);
  Put<uint64_t>(sizes_.size(), &head);
  Put<uint64_t>(sizes_.size() + 1, &head);
  VOLERY_RETURN_IF_ERROR(file->Write(head));
  VOLERY_RETURN_IF_ERROR(WriteArray<int32_t>(
      sizes_.size(), [&](size_t i) { return sizes_[i]; }, file.get()));
  int64_t end = 0;
  const auto pointer_of = [&](size_t i) {
    return std::exchange(end, end + sizes_[i] * static_cast<int64_t>(DTypeSize(dtype_)));
  };
  VOLERY_RETURN_IF_ERROR(WriteArray<int64_t>(sizes_.size(), pointer_of, file.get()));
  const auto document_of = [](size_t i) { return static_cast<int64_t>(i); };
  VOLERY_RETURN_IF_ERROR(WriteArray<int64_t>(sizes_.size() + 1, document_of, file.get()));
  return file->Close();
}

Status BinidxWriter::Finish() {
  if (!bin_->open()) return PreconditionError(prefix_, ": finished already");
  VOLERY_RETURN_IF_ERROR(bin_->Close());
  VOLERY_RETURN_IF_ERROR(WriteIndex());
  VOLERY_RETURN_IF_ERROR(base::FsyncPath(bin_->path()));
  VOLERY_RETURN_IF_ERROR(base::FsyncPath(idx_path_));
  const std::string parent = std::filesystem::path(prefix_).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (base::Exists(prefix_ + ".idx")) {
    VOLERY_RETURN_IF_ERROR(base::RemoveAll(prefix_ + ".idx"));
    VOLERY_RETURN_IF_ERROR(base::FsyncPath(folder));
  }
  VOLERY_RETURN_IF_ERROR(base::RenamePath(bin_->path(), prefix_ + ".bin"));
  VOLERY_RETURN_IF_ERROR(base::RenamePath(idx_path_, prefix_ + ".idx"));
  finished_ = true;
  return base::FsyncPath(folder);
}

}  // namespace volery::formats
