#include "core/base/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace volery::base {
namespace {

TEST(Files, WriteAtomicReplacesTheWholeFileAndLeavesNothingBeside) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), "a longer first text").ok());
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), std::string("new\0bytes", 9)).ok());
  EXPECT_EQ(*ReadFile(folder.File("a")), std::string("new\0bytes", 9));
  EXPECT_EQ(*ListFolder(folder.path()), std::vector<std::string>{"a"});
}

TEST(Files, AFailingProducerLeavesTheOldFile) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), "old").ok());
  const Status status = WriteFileAtomicWith(folder.File("a"), [](const std::string& temporary) {
    VOLERY_RETURN_IF_ERROR(AppendToFile(temporary, "half of the n"));
    return ResourceError("no space");
  });
  EXPECT_EQ(status, ResourceError("no space"));
  EXPECT_EQ(*ReadFile(folder.File("a")), "old");
  EXPECT_EQ(ListFolder(folder.path())->size(), 1u);
}

// A full disk is played by a limit on the size of files, in a child process so that the limit ends with it.
TEST(Files, AFullDiskLeavesTheOldFileAndSaysSo) {
  TemporaryFolder folder;
  const std::string path = folder.File("weights");
  ASSERT_TRUE(WriteFileAtomic(path, "old").ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(10);
    const Status status = WriteFileAtomic(path, std::string(100'000, 'x'));
    const bool names_it = Message(status).find("weights") != std::string::npos &&
                          Message(status).find("free some space") != std::string::npos;
    ::_exit(status.code() == StatusCode::kResourceExhausted && names_it ? 0 : 11);
  }
  int result = 0;
  ASSERT_EQ(::waitpid(child, &result, 0), child);
  EXPECT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), 0);
  EXPECT_EQ(*ReadFile(path), "old");
  EXPECT_EQ(ListFolder(folder.path())->size(), 1u);
}

TEST(Files, ErrorsNameThePathAndTheReason) {
  TemporaryFolder folder;
  const Status missing = ReadFile(folder.File("missing")).status();
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_EQ(Message(missing), folder.File("missing") + ": can't open: No such file or directory");
  EXPECT_EQ(ReadFile(folder.path()).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(MappedFile::Open(folder.path()).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(WriteFileAtomic(folder.File("none/a"), "x").code(), StatusCode::kNotFound);
  EXPECT_EQ(ListFolder(folder.File("none")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(FileSize(folder.File("none")).status().code(), StatusCode::kNotFound);
}

TEST(Files, ADeviceOrPipeIsWrittenToAndNotReplaced) {
  TemporaryFolder folder;
  const std::string link = folder.File("out");
  ASSERT_EQ(::symlink("/dev/null", link.c_str()), 0);
  ASSERT_TRUE(WriteFileAtomic(link, "x").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(std::filesystem::is_character_file(link));
  EXPECT_NE(Message(MappedFile::Open("/dev/null").status()).find("no regular file"), std::string::npos);
}

TEST(Files, AppendTruncateRenameRemove) {
  TemporaryFolder folder;
  ASSERT_TRUE(AppendToFile(folder.File("a"), "one").ok());
  ASSERT_TRUE(AppendToFile(folder.File("a"), "two").ok());
  EXPECT_EQ(*FileSize(folder.File("a")), 6u);
  ASSERT_TRUE(TruncateFile(folder.File("a"), 4).ok());
  ASSERT_TRUE(RenamePath(folder.File("a"), folder.File("b")).ok());
  EXPECT_EQ(*ReadFile(folder.File("b")), "onet");
  EXPECT_FALSE(Exists(folder.File("a")));
  ASSERT_TRUE(MakeFolders(folder.File("x/y/z")).ok());
  ASSERT_TRUE(MakeFolders(folder.File("x/y/z")).ok());
  EXPECT_TRUE(IsFolder(folder.File("x/y/z")));
  ASSERT_TRUE(RemoveAll(folder.File("x")).ok());
  EXPECT_EQ(*ListFolder(folder.path()), std::vector<std::string>{"b"});
}

TEST(Files, MapsFilesAlsoEmptyOnes) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), "abc").ok());
  ASSERT_TRUE(WriteFileAtomic(folder.File("e"), "").ok());
  auto file = *MappedFile::Open(folder.File("a"));
  EXPECT_EQ(file->bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file->bytes()[2]), 'c');
  EXPECT_TRUE((*MappedFile::Open(folder.File("e")))->bytes().empty());
}

TEST(Files, ResolvePathFoldsDots) {
  EXPECT_EQ(ResolvePath("configs", "../models/a.gguf"), "models/a.gguf");
  EXPECT_EQ(ResolvePath("/r/configs", "data/./q.jsonl"), "/r/configs/data/q.jsonl");
  EXPECT_EQ(ResolvePath("configs", "/abs/x"), "/abs/x");
  EXPECT_EQ(ResolvePath("", "x"), "x");
}

TEST(Files, FreeDiskBytesWorksForAPathThatDoesNotExistYet) {
  TemporaryFolder folder;
  EXPECT_GT(*FreeDiskBytes(folder.File("not/yet/there")), 0u);
}

TEST(Files, TemporaryFoldersGoAwayWithWhatTheyHold) {
  std::string path;
  {
    TemporaryFolder folder;
    path = folder.path();
    ASSERT_TRUE(MakeFolders(folder.File("a/b")).ok());
  }
  EXPECT_FALSE(Exists(path));
}

}  // namespace
}  // namespace volery::base
