#include "core/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/files.h"

namespace volery::data {
namespace {

using ::testing::HasSubstr;

TEST(JsonLines, RowsKnowTheirPlace) {
  const auto dataset =
      ParseJsonLines("\xEF\xBB\xBF{\"prompt\": \"a\"}\r\n\n{\"prompt\": \"b\", \"n\": 3}", "d.jsonl");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->rows.size(), 2u);
  EXPECT_EQ(dataset->rows[0].where, "d.jsonl:1");
  EXPECT_EQ(dataset->rows[1].where, "d.jsonl:3");
  EXPECT_EQ(dataset->rows[1].columns["n"], 3);
}

TEST(JsonLines, ALineThatIsNoJsonIsNamed) {
  const auto status = ParseJsonLines("{\"prompt\": \"a\"}\n{\"prompt\": oops}\n", "d.jsonl").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("d.jsonl:2:"));
  EXPECT_THAT(Message(status), HasSubstr("not JSON"));
}

TEST(JsonLines, BadBytesAreNoJson) {
  EXPECT_THAT(Message(ParseJsonLines("{\"prompt\": \"\xff\"}", "d").status()), HasSubstr("d:1"));
  EXPECT_THAT(Message(ParseJsonLines(std::string_view("\0", 1), "d").status()), HasSubstr("d:1"));
}

TEST(JsonLines, ALineMustBeAnObject) {
  EXPECT_THAT(Message(ParseJsonLines("[1, 2]", "d.jsonl").status()),
              HasSubstr("d.jsonl:1: this line is a JSON array"));
}

TEST(JsonLines, AnEmptyDatasetIsRefused) {
  EXPECT_THAT(Message(ParseJsonLines("\n  \n", "d.jsonl").status()),
              HasSubstr("d.jsonl: the dataset is empty"));
}

TEST(JsonLines, AMissingColumnNamesThoseThatExist) {
  const DatasetRow row{"d.jsonl:7", {{"question", "q"}, {"answer", 1}}};
  EXPECT_TRUE(Column(row, "question").ok());
  const Status status = Column(row, "prompt").status();
  EXPECT_THAT(Message(status), HasSubstr("d.jsonl:7: there is no column \"prompt\""));
  EXPECT_THAT(Message(status), HasSubstr("\"answer\", \"question\""));
}

TEST(Dataset, ReadsAFileByItsName) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("d.jsonl"), "{\"prompt\": \"a\"}\n").ok());
  const auto dataset = ReadDataset(folder.File("d.jsonl"));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->rows[0].columns["prompt"], "a");
  EXPECT_EQ(ReadDataset(folder.File("none.jsonl")).status().code(), StatusCode::kNotFound);
}

TEST(Dataset, ReadsParquet) {
  const auto dataset = ReadDataset(VOLERY_SOURCE_DIR "/tests/fuzz/corpus/dataset/table.parquet");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  ASSERT_EQ(dataset->rows.size(), 2u);
  EXPECT_THAT(dataset->rows[1].where, HasSubstr("table.parquet:row 1"));
  EXPECT_EQ(dataset->rows[1].columns["prompt"], "b");
  EXPECT_EQ(dataset->rows[1].columns["answer"], 2);
  EXPECT_EQ(dataset->rows[1].columns["messages"][0]["content"], "y");
}

TEST(Dataset, ADamagedParquetFileIsNamed) {
  base::TemporaryFolder folder;
  ASSERT_TRUE(base::WriteFileAtomic(folder.File("d.parquet"), "PAR1 and nothing more").ok());
  EXPECT_THAT(Message(ReadDataset(folder.File("d.parquet")).status()), HasSubstr("d.parquet"));
}

}  // namespace
}  // namespace volery::data
