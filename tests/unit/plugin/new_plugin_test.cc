#include "core/plugin/new_plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/files.h"

namespace volery::plugin {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(NewPlugin, WritesAProjectUnderTheNewName) {
  base::TemporaryFolder folder;
  const std::string place = folder.File("word_share");
  StatusOr<std::vector<std::string>> files = NewPlugin("reward", "word_share", place);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(*files, ::testing::UnorderedElementsAre(place + "/CMakeLists.txt", place + "/README.md",
                                                      place + "/word_share.cc"));
  EXPECT_THAT(base::ReadFile(place + "/word_share.cc").value(),
              AllOf(HasSubstr("class WordShare"), HasSubstr("\"example.word_share/1\""),
                    Not(HasSubstr("my_reward"))));
  EXPECT_THAT(base::ReadFile(place + "/CMakeLists.txt").value(),
              HasSubstr("volery_add_reward(word_share word_share.cc)"));
  EXPECT_EQ(NewPlugin("reward", "word_share", place).status().code(), StatusCode::kAlreadyExists);
}

TEST(NewPlugin, RefusesOtherKindsAndNames) {
  base::TemporaryFolder folder;
  EXPECT_THAT(Message(NewPlugin("teapot", "x", folder.File("x")).status()),
              HasSubstr("no template for the plugin kind \"teapot\""));
  for (const char* name : {"", "Upper", "9lives", "with-dash", "a/b"}) {
    EXPECT_EQ(NewPlugin("reward", name, folder.File("x")).status().code(), StatusCode::kInvalidArgument)
        << name;
  }
}

}  // namespace
}  // namespace volery::plugin
