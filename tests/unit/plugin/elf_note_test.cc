#include "core/plugin/elf_note.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/plugin/build_tag.h"
#include "core/plugin/library.h"

namespace volery::plugin {
namespace {

using ::testing::HasSubstr;

StatusOr<std::optional<std::string>> TagOf(const std::string& name) {
  return BuildTagOfFile(Cat(VOLERY_SOURCE_DIR "/tests/fuzz/corpus/elf_note/", name));
}

TEST(ElfNote, ReadsTheTag) {
  EXPECT_EQ(TagOf("tagged").value(), "sdk=0.1.0 compiler=gcc-12");
  EXPECT_EQ(TagOf("second_note").value(), "sdk=0.1.0 compiler=gcc-12");
}

TEST(ElfNote, IsNothingWhereTheLibraryCarriesNone) {
  EXPECT_EQ(TagOf("no_notes").value(), std::nullopt);
  EXPECT_EQ(TagOf("other_name").value(), std::nullopt);
  EXPECT_EQ(BuildTagOfFile(VOLERY_BINARY_DIR "/lib/volery/plugins/format.so").value(), std::nullopt);
}

TEST(ElfNote, ReadsThatOfALinkedLibrary) {
  EXPECT_EQ(BuildTagOfFile(VOLERY_BINARY_DIR "/tests/plugins/good_tag.so").value(), HostBuildTag());
}

TEST(ElfNote, RefusesWhatIsNoLibraryAndHeadersThatLie) {
  EXPECT_THAT(Message(TagOf("text").status()), HasSubstr("not a shared library"));
  EXPECT_THAT(Message(TagOf("header_cut").status()), HasSubstr("not a shared library (40 bytes)"));
  EXPECT_THAT(Message(TagOf("bits_32").status()), HasSubstr("64-bit"));
  EXPECT_THAT(Message(TagOf("executable").status()), HasSubstr("no shared library"));
  for (const char* name : {"content_past_end", "name_past_end", "segment_past_end", "segment_wraps",
                           "table_past_end", "table_wraps"}) {
    EXPECT_THAT(Message(TagOf(name).status()), HasSubstr("beyond")) << name;
  }
}

TEST(BuildTag, NamesThePartsThatDiffer) {
  std::string other = HostBuildTag();
  EXPECT_TRUE(CheckBuildTag(other).ok());
  other.replace(other.find("compiler="), 9, "compiler=x");
  const Status status = CheckBuildTag(other);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("(compiler differ)"));
  EXPECT_THAT(Message(status), HasSubstr(other));
  EXPECT_THAT(Message(status), HasSubstr(HostBuildTag()));
}

}  // namespace
}  // namespace volery::plugin
