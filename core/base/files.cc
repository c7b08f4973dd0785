#include "core/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace volery::base {
namespace {

namespace fs = std::filesystem;

Status FromErrno(const std::string& path, const char* action, int error) {
  const std::string message = Cat(path, ": can't ", action, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR: return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR: return absl::FailedPreconditionError(message);
    case EEXIST: return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return absl::ResourceExhaustedError(message + "; free some space on that file system and run again");
    default: return absl::UnavailableError(message);
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

Status WriteAll(int fd, const std::string& path, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno(path, "write", errno);
    done += static_cast<size_t>(n);
  }
  return OkStatus();
}

Status WritePlain(const std::string& path, const std::string& bytes) {
  FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.ok()) return FromErrno(path, "open for writing", errno);
  VOLERY_RETURN_IF_ERROR(WriteAll(fd.get(), path, bytes));
  if (fd.Close() != 0) return FromErrno(path, "close", errno);
  return OkStatus();
}

std::string ParentOf(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

StatusOr<std::string> ReadFile(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FromErrno(path, "open", errno);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return FromErrno(path, "stat", errno);
  if (S_ISDIR(info.st_mode)) return FromErrno(path, "read", EISDIR);
  std::string bytes;
  std::string buffer(1 << 16, '\0');
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FromErrno(path, "read", errno);
    if (n == 0) return bytes;
    bytes.append(buffer, 0, static_cast<size_t>(n));
  }
}

Status WriteFileAtomic(const std::string& path, const std::string& bytes) {
  return WriteFileAtomicWith(path, [&](const std::string& temporary) { return WritePlain(temporary, bytes); });
}

Status WriteFileAtomicWith(const std::string& path, const std::function<Status(const std::string&)>& write) {
  struct stat info;
  // A device or a pipe (/dev/null, /dev/stdout) is written to; a rename would put a file in its place.
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) return write(path);
  const std::string temporary = Cat(path, ".tmp.", ::getpid());
  Status status = write(temporary);
  if (status.ok()) status = FsyncPath(temporary);
  if (status.ok()) status = RenamePath(temporary, path);
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return FsyncPath(ParentOf(path));
}

Status AppendToFile(const std::string& path, const std::string& bytes) {
  FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.ok()) return FromErrno(path, "open for appending", errno);
  VOLERY_RETURN_IF_ERROR(WriteAll(fd.get(), path, bytes));
  if (fd.Close() != 0) return FromErrno(path, "close", errno);
  return OkStatus();
}

Status TruncateFile(const std::string& path, uint64_t size) {
  if (::truncate(path.c_str(), static_cast<off_t>(size)) != 0) return FromErrno(path, "truncate", errno);
  return OkStatus();
}

Status FsyncPath(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FromErrno(path, "open", errno);
  if (::fsync(fd.get()) != 0) return FromErrno(path, "fsync", errno);
  return OkStatus();
}

Status MakeFolders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? FromErrno(path, "make the folder", error.value()) : OkStatus();
}

Status RemoveAll(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? FromErrno(path, "remove", error.value()) : OkStatus();
}

Status RenamePath(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return FromErrno(Cat(from, " -> ", to), "rename", errno);
  return OkStatus();
}

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsFolder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

StatusOr<uint64_t> FileSize(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return FromErrno(path, "stat", errno);
  return static_cast<uint64_t>(info.st_size);
}

StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  fs::directory_iterator it(path, error), end;
  for (; !error && it != end; it.increment(error)) names.push_back(it->path().filename().string());
  if (error) return FromErrno(path, "list the folder", error.value());
  std::sort(names.begin(), names.end());
  return names;
}

StatusOr<uint64_t> FreeDiskBytes(const std::string& path) {
  fs::path existing = fs::absolute(path);
  while (!Exists(existing.string()) && existing.has_parent_path() && existing != existing.parent_path()) {
    existing = existing.parent_path();
  }
  struct statvfs info;
  if (::statvfs(existing.c_str(), &info) != 0) return FromErrno(existing.string(), "ask for free space", errno);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

std::string ResolvePath(const std::string& base_folder, const std::string& path) {
  const fs::path given(path);
  const fs::path joined = given.is_absolute() ? given : fs::path(base_folder) / given;
  return joined.lexically_normal().string();
}

StatusOr<std::shared_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FromErrno(path, "open", errno);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return FromErrno(path, "stat", errno);
  if (S_ISDIR(info.st_mode)) return FromErrno(path, "map", EISDIR);
  if (!S_ISREG(info.st_mode)) return InvalidError(path, ": is no regular file; save its content to one first");
  const size_t size = static_cast<size_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapped == MAP_FAILED) return FromErrno(path, "map", errno);
    data = static_cast<const std::byte*>(mapped);
  }
  return std::shared_ptr<MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "volery.XXXXXX").string();
  VOLERY_CHECK(!error);
  VOLERY_CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace volery::base
