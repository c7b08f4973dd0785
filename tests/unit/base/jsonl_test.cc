#include "core/base/jsonl.h"

#include <gtest/gtest.h>

#include <sstream>

#include "core/base/files.h"

namespace volery::base {
namespace {

TEST(JsonLines, VisitsValuesWithTheirPlaces) {
  std::istringstream in("\xef\xbb\xbf{\"a\": 1}\r\n\n  \n[2]\n3");
  std::vector<std::string> seen;
  ASSERT_TRUE(ForEachJsonLine(in, "x.jsonl", [&](const JsonLine& line) {
                seen.push_back(Cat(line.where, " ", line.index, " ", line.value.dump()));
                return OkStatus();
              }).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"x.jsonl:1 0 {\"a\":1}", "x.jsonl:4 1 [2]", "x.jsonl:5 2 3"}));
}

TEST(JsonLines, ALineThatIsNoJsonIsNamedWithItsColumn) {
  std::istringstream in("{}\n{\"a\": }\n{}\n");
  int visited = 0;
  const Status status = ForEachJsonLine(in, "x.jsonl", [&](const JsonLine&) {
    ++visited;
    return OkStatus();
  });
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Message(status).starts_with("x.jsonl:2:7: not JSON; every line must be one JSON value"))
      << status;
  EXPECT_EQ(visited, 1);
}

TEST(JsonLines, ALineOfBracketsIsAnErrorAndNoStackOverflow) {
  std::istringstream in("{\"a\": \"[[[\\\"[\"}\n{\"a\": " + std::string(400'000, '[') + "\n");
  int visited = 0;
  const Status status = ForEachJsonLine(in, "x.jsonl", [&](const JsonLine&) {
    ++visited;
    return OkStatus();
  });
  EXPECT_EQ(Message(status), "x.jsonl:2: the JSON is nested deeper than 100 levels");
  EXPECT_EQ(visited, 1);
}

TEST(JsonLines, BytesThatAreNoUtf8AreAnError) {
  std::istringstream in("\"\xff\"\n");
  EXPECT_EQ(ForEachJsonLine(in, "x", [](const JsonLine&) { return OkStatus(); }).code(),
            StatusCode::kInvalidArgument);
}

TEST(JsonLines, TheVisitorsErrorGetsThePlaceOnce) {
  std::istringstream in("1\n");
  EXPECT_EQ(ForEachJsonLine(in, "x", [](const JsonLine&) { return InvalidError("no text"); }),
            InvalidError("x:1: no text"));
  std::istringstream again("1\n");
  EXPECT_EQ(
      ForEachJsonLine(again, "x", [](const JsonLine& line) { return InvalidError(line.where, ": no text"); }),
      InvalidError("x:1: no text"));
}

TEST(JsonLines, MissingFilesAndFoldersAreErrors) {
  TemporaryFolder folder;
  auto visit = [](const JsonLine&) { return OkStatus(); };
  EXPECT_EQ(ForEachJsonLine(folder.File("none"), visit).code(), StatusCode::kNotFound);
  EXPECT_EQ(ForEachJsonLine(folder.path(), visit).code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(WriteFileAtomic(folder.File("a"), "1\n2\n").ok());
  int lines = 0;
  ASSERT_TRUE(ForEachJsonLine(folder.File("a"), [&](const JsonLine&) {
                ++lines;
                return OkStatus();
              }).ok());
  EXPECT_EQ(lines, 2);
}

}  // namespace
}  // namespace volery::base
