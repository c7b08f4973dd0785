#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "core/base/files.h"
#include "core/formats/parquet_rows.h"
#include "core/formats/rollout_file.h"

namespace volery::formats {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kGoldens = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/";

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

void ExpectRecordedRows(const RolloutTable& rows, bool own_columns) {
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].input_tokens, ElementsAre(1, 2, 3));
  EXPECT_THAT(rows[1].input_tokens, IsEmpty());
  EXPECT_THAT(rows[0].output_tokens, ElementsAre(4, 5));
  EXPECT_THAT(*rows[0].input_logprobs, ElementsAre(0, 0, 0));
  EXPECT_FALSE(rows[1].input_logprobs.has_value());
  EXPECT_THAT(*rows[0].output_logprobs, ElementsAre(-0.5, -1.25));
  EXPECT_EQ(rows[0].prompt, "caf\xc3\xa9");
  EXPECT_EQ(rows[1].problem_id, "p1");
  EXPECT_EQ(rows[1].completion, "y");
  EXPECT_EQ(rows[1].advantages, -1);
  EXPECT_EQ(rows[0].rewards, 0.5);
  EXPECT_EQ(rows[0].task_rewards, 0.25);
  EXPECT_EQ(rows[1].length_penalties, 0.125);
  EXPECT_EQ(rows[0].proofs, std::string("\0\xff", 2));
  EXPECT_EQ(rows[1].step, 8);
  EXPECT_EQ(rows[0].target_lengths, -1);
  EXPECT_EQ(rows[1].task_type, "code");
  EXPECT_EQ(rows[0].seed, int64_t{1} << 40);
  EXPECT_FALSE(rows[1].seed.has_value());
  EXPECT_EQ(rows[1].temperature, 0.5);
  EXPECT_EQ(rows[0].group_id, own_columns ? (uint64_t{1} << 63) + 5 : 0);
  EXPECT_EQ(rows[1].sample, own_columns ? 1 : -1);
  EXPECT_EQ(rows[0].versions, own_columns ? (std::vector<int64_t>{7, 8}) : std::vector<int64_t>{});
  EXPECT_EQ(rows[1].stop_reason, own_columns ? "length" : "");
}

TEST(RolloutFile, ReadsWhatPyarrowWroteWithEitherChildName) {
  for (bool own : {true, false}) {
    const std::string path = kGoldens + (own ? "rollouts_element.parquet" : "rollouts_item.parquet");
    const std::string bytes = *base::ReadFile(path);
    StatusOr<RolloutTable> rows = DecodeRollouts(Bytes(bytes), path);
    ASSERT_TRUE(rows.ok()) << rows.status();
    ExpectRecordedRows(*rows, own);
  }
}

TEST(RolloutFile, RoundTrip) {
  const std::string recorded = *base::ReadFile(kGoldens + "rollouts_element.parquet");
  RolloutTable rows = *DecodeRollouts(Bytes(recorded), "recorded");
  StatusOr<std::string> bytes = EncodeRollouts(rows);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, *EncodeRollouts(rows));
  StatusOr<RolloutTable> again = DecodeRollouts(Bytes(*bytes), "again");
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectRecordedRows(*again, true);
  StatusOr<RolloutTable> none = DecodeRollouts(Bytes(*EncodeRollouts({})), "empty");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none, IsEmpty());
}

TEST(RolloutFile, RefusesWhatIsNoRolloutFile) {
  EXPECT_EQ(DecodeRollouts(Bytes("PAR1 nonsense"), "r.parquet").status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(DecodeRollouts({}, "r.parquet").ok());
  const std::string dataset = *base::ReadFile(kGoldens + "dataset.parquet");
  EXPECT_THAT(Message(DecodeRollouts(Bytes(dataset), "r.parquet").status()),
              AllOf(HasSubstr("r.parquet"), HasSubstr("no column \"input_tokens\"")));
  RolloutRow row;
  row.prompt = "\xff";
  EXPECT_THAT(Message(EncodeRollouts({row}).status()), HasSubstr("column \"prompt\""));
  RolloutRow uneven;
  uneven.output_tokens = {1, 2};
  uneven.output_logprobs = {{-1.0f}};
  EXPECT_THAT(Message(DecodeRollouts(Bytes(*EncodeRollouts({uneven})), "r").status()),
              HasSubstr("row 0 has 2 output tokens but 1 output_logprobs"));
  uneven.output_logprobs = std::nullopt;
  uneven.sample = 0;
  EXPECT_THAT(Message(DecodeRollouts(Bytes(*EncodeRollouts({uneven})), "r").status()),
              HasSubstr("0 versions"));
}

TEST(RolloutFile, EveryTruncationIsRefused) {
  const std::string whole = *base::ReadFile(kGoldens + "rollouts_item.parquet");
  for (size_t size = 0; size < whole.size(); size += 37) {
    EXPECT_FALSE(DecodeRollouts(Bytes(whole.substr(0, size)), "cut").ok()) << size;
  }
}

TEST(ParquetRows, GivesTheRowsThatPyarrowGives) {
  const std::string bytes = *base::ReadFile(kGoldens + "dataset.parquet");
  std::vector<json> rows;
  Status status = ReadParquetRows(Bytes(bytes), "dataset.parquet", [&](int64_t row, json object) {
    EXPECT_EQ(row, static_cast<int64_t>(rows.size()));
    rows.push_back(std::move(object));
    return OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
  std::istringstream expected(*base::ReadFile(kGoldens + "dataset.jsonl"));
  std::vector<json> expected_rows;
  for (std::string line; std::getline(expected, line);) expected_rows.push_back(json::parse(line));
  EXPECT_EQ(rows, expected_rows);
}

TEST(ParquetRows, StopsAtTheVisitorsErrorAndNamesColumnsItCannotRead) {
  const std::string bytes = *base::ReadFile(kGoldens + "dataset.parquet");
  int calls = 0;
  Status status = ReadParquetRows(Bytes(bytes), "d", [&](int64_t row, json) {
    ++calls;
    return row == 1 ? NotFoundError("row 1 is bad") : OkStatus();
  });
  EXPECT_EQ(status, NotFoundError("row 1 is bad"));
  EXPECT_EQ(calls, 2);
  const std::string binary = *base::ReadFile(kGoldens + "binary.parquet");
  EXPECT_THAT(Message(ReadParquetRows(Bytes(binary), "b.parquet", [](int64_t, json) { return OkStatus(); })),
              AllOf(HasSubstr("b.parquet"), HasSubstr("column \"image\" has type binary")));
  EXPECT_FALSE(ReadParquetRows(Bytes("no parquet"), "n", [](int64_t, json) { return OkStatus(); }).ok());
}

}  // namespace
}  // namespace volery::formats
