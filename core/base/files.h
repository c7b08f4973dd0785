#pragma once
// Reading and durable writing of files. Everything a run must not lose goes through WriteFileAtomic:
// written beside its place, fsynced, renamed, the folder fsynced; a crash or a full disk leaves the old state.
// Errors name the path and the operating system's reason. Thread-safe; no state.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace volery::base {

StatusOr<std::string> ReadFile(const std::string& path);
// Writes `path` completely or not at all (temporary beside it, fsync, rename, fsync of the folder).
Status WriteFileAtomic(const std::string& path, const std::string& bytes);
// The same with a producer: `write` gets the temporary's path and fills it (any library may do so); then fsync + rename.
Status WriteFileAtomicWith(const std::string& path, const std::function<Status(const std::string& temporary)>& write);
Status AppendToFile(const std::string& path, const std::string& bytes);
Status TruncateFile(const std::string& path, uint64_t size);
Status FsyncPath(const std::string& path);  // a file or a folder
Status MakeFolders(const std::string& path);
Status RemoveAll(const std::string& path);
Status RenamePath(const std::string& from, const std::string& to);
bool Exists(const std::string& path);
bool IsFolder(const std::string& path);
StatusOr<uint64_t> FileSize(const std::string& path);
StatusOr<std::vector<std::string>> ListFolder(const std::string& path);  // names only, sorted
// Free bytes on the file system that holds `path` (or its nearest existing parent).
StatusOr<uint64_t> FreeDiskBytes(const std::string& path);
// `path` itself when absolute, else `base_folder`/`path`; "." and ".." are folded.
std::string ResolvePath(const std::string& base_folder, const std::string& path);

// A read-only private mapping of a whole file; the file must not be rewritten in place while it lives.
class MappedFile {
 public:
  static StatusOr<std::shared_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::string path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// A new unique folder under the system's temporary folder, removed with all it holds at the end of its life.
class TemporaryFolder {
 public:
  TemporaryFolder();  // CHECK-fails when none can be made
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace volery::base
