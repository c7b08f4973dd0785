#include "core/formats/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/base/files.h"

namespace volery::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

const std::string kRecorded = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/events.recorded";

// What record.py gave to TensorBoard's own writer.
std::vector<EventRecord> RecordedEvents() {
  const float inf = std::numeric_limits<float>::infinity();
  return {{1750000000.25, 0, "brain.Event:2", {}},
          {1750000000.5, 0, "", {{"reward/mean", 0.125f}, {"lr", 2e-5f}}},
          {1750000001.5, 1, "", {{"reward/mean", -0.5f}}},
          {1750000300.5, 300, "", {{"reward/mean", inf}, {"big", 3e38f}}}};
}

TEST(EventFile, EncodesTheBytesThatTensorBoardWrites) {
  std::string bytes;
  for (const EventRecord& record : RecordedEvents()) bytes += EncodeEvent(record);
  EXPECT_EQ(bytes, *base::ReadFile(kRecorded));
}

TEST(EventFile, ReadsWhatTensorBoardWrote) {
  StatusOr<EventFile> file = ParseEvents(*base::ReadFile(kRecorded), kRecorded);
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<EventRecord> expected = RecordedEvents();
  ASSERT_EQ(file->records.size(), expected.size());
  EXPECT_FALSE(file->torn);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(file->records[i].wall_time, expected[i].wall_time);
    EXPECT_EQ(file->records[i].step, expected[i].step);
    EXPECT_EQ(file->records[i].file_version, expected[i].file_version);
    EXPECT_EQ(file->records[i].scalars, expected[i].scalars);
  }
}

TEST(EventFile, ChecksumIsCastagnolis) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);  // the check value of the CRC catalogue
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(EventFile, CutsBackToAStepAndGoesOn) {
  base::TemporaryFolder folder;
  const std::string path = folder.File("events.out.tfevents.1");
  {
    auto writer = EventFileWriter::Create(path, 1.5);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (int step = 0; step < 10; ++step) ASSERT_TRUE((*writer)->Add(step, step, {{"x", float(step)}}).ok());
    ASSERT_TRUE((*writer)->Flush().ok());
    EXPECT_EQ(ParseEvents(*base::ReadFile(path), path)->records.size(), 11u);
  }
  ASSERT_TRUE(TruncateEvents(path, 4).ok());
  StatusOr<EventFile> file = ParseEvents(*base::ReadFile(path), path);
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->records.size(), 6u);
  EXPECT_EQ(file->records.back().step, 4);
  EXPECT_THAT(file->records.back().scalars, ElementsAre(Pair("x", 4.0f)));
  EXPECT_EQ(EventFileWriter::Create(path, 1).status().code(), StatusCode::kAlreadyExists);
}

TEST(EventFile, ATornLastRecordIsCutOffAtEveryLength) {
  base::TemporaryFolder folder;
  const std::string path = folder.File("events.out.tfevents.1");
  const std::string whole = *base::ReadFile(kRecorded);
  const std::vector<uint64_t> ends = ParseEvents(whole, path)->ends;
  for (uint64_t size = ends[2] + 1; size < whole.size(); ++size) {
    ASSERT_TRUE(base::WriteFileAtomic(path, whole.substr(0, size)).ok());
    ASSERT_TRUE(TruncateEvents(path, 1000).ok()) << size;
    EXPECT_EQ(*base::FileSize(path), ends[2]) << size;
  }
}

TEST(EventFile, DamageInsideIsAnErrorNotASilentCut) {
  const std::string whole = *base::ReadFile(kRecorded);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 0x10;
    Status status = ParseEvents(damaged, "e").status();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << at;
    EXPECT_THAT(Message(status), HasSubstr("e: the record at byte "));
  }
}

}  // namespace
}  // namespace volery::formats
