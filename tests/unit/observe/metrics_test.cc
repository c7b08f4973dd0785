#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/files.h"
#include "core/formats/event_file.h"
#include "core/observe/fan_out_sink.h"
#include "core/observe/last_metrics.h"
#include "core/observe/metrics_file.h"
#include "core/observe/tensorboard_sink.h"

namespace volery::observe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(MetricsFile, WritesOneObjectALineWithExactNumbers) {
  EXPECT_EQ(FormatMetricsLine(StepId(3), {{"reward/mean", 0.1}, {"lr", 2e-5}}, ""),
            R"({"step":3,"lr":2e-05,"reward/mean":0.1})");
  EXPECT_EQ(FormatMetricsLine(StepId(4), {{"loss", std::nan("")}, {"x", INFINITY}}, "step skipped: \"NaN\""),
            R"({"step":4,"loss":null,"x":null,"note":"step skipped: \"NaN\""})");
  for (double value : {1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0}) {
    const auto line = nlohmann::json::parse(FormatMetricsLine(StepId(1), {{"v", value}}, "\xff"));
    EXPECT_EQ(line["v"].get<double>(), value);
  }
}

TEST(MetricsFile, CutsBackAndGoesOn) {
  base::TemporaryFolder folder;
  const std::string path = folder.File("metrics.jsonl");
  EXPECT_TRUE(MetricsFile::CutBack(path, StepId(1)).ok());
  {
    auto file = MetricsFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    for (int step = 0; step < 5; ++step)
      ASSERT_TRUE((*file)->Write(StepId(step), {{"x", step * 0.5}}, "").ok());
  }
  ASSERT_TRUE(base::AppendToFile(path, "{\"step\":5,\"x\":").ok());
  ASSERT_TRUE(MetricsFile::CutBack(path, StepId(10)).ok());
  ASSERT_TRUE(MetricsFile::CutBack(path, StepId(1)).ok());
  {
    auto file = MetricsFile::Open(path);
    ASSERT_TRUE((*file)->Write(StepId(2), {{"x", 9}}, "again").ok());
    EXPECT_EQ(*base::ReadFile(path),
              "{\"step\":0,\"x\":0.0}\n{\"step\":1,\"x\":0.5}\n{\"step\":2,\"x\":9.0,\"note\":\"again\"}\n");
  }
}

TEST(MetricsFile, NamesTheLineThatIsNone) {
  base::TemporaryFolder folder;
  const std::string path = folder.File("metrics.jsonl");
  for (const char* bad : {"nonsense", "[]", "{}", "{\"step\":1.5}"}) {
    ASSERT_TRUE(base::WriteFileAtomic(path, Cat("{\"step\":0}\n", bad, "\n")).ok());
    EXPECT_THAT(Message(MetricsFile::CutBack(path, StepId(10))),
                HasSubstr("metrics.jsonl:2: no metrics line"))
        << bad;
  }
}

TEST(MetricsFile, FullDiskIsReported) {
  if (!base::Exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  auto file = MetricsFile::Open("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->Write(StepId(0), {}, "").code(), StatusCode::kResourceExhausted);
}

TEST(LastMetrics, BeginsWithTheNewestValuesOfAFile) {
  base::TemporaryFolder folder;
  const std::string path = folder.File("metrics.jsonl");
  EXPECT_TRUE((*LastMetrics::Of(path))->values().empty());
  ASSERT_TRUE(base::WriteFileAtomic(path, "{\"step\": 1, \"a\": 1, \"b\": 2, \"note\": \"x\"}\n"
                                          "{\"step\": 2, \"a\": 3, \"b\": null}\n{\"step\": 3, \"a\"")
                  .ok());
  const auto last = LastMetrics::Of(path);
  ASSERT_TRUE(last.ok()) << last.status();
  ASSERT_TRUE((*last)->Write(StepId(7), {{"c", 4}}, "").ok());
  std::string text;
  for (const auto& [name, metric] : (*last)->values()) text += Cat(name, "=", metric.value, "@", metric.step, " ");
  EXPECT_EQ(text, "a=3@2 b=2@1 c=4@7 ");
  ASSERT_TRUE(base::WriteFileAtomic(path, "[]\n").ok());
  EXPECT_THAT(Message(LastMetrics::Of(path).status()), HasSubstr("metrics.jsonl:1"));
}

TEST(TensorBoardSink, EveryStartWritesItsOwnFileAndCutBackReachesAll) {
  base::TemporaryFolder folder;
  const std::string events = folder.File("run/events");
  base::FakeClock clock;
  EXPECT_TRUE(TensorBoardSink::CutBack(events, StepId(0)).ok());
  for (int start = 0; start < 2; ++start) {
    auto sink = TensorBoardSink::Open(events, clock);
    ASSERT_TRUE(sink.ok()) << sink.status();
    for (int step = 0; step < 3; ++step)
      ASSERT_TRUE((*sink)->Write(StepId(start * 3 + step), {{"a", step}, {"b", 0.5}}, "note").ok());
  }
  EXPECT_THAT(*base::ListFolder(events),
              ElementsAre("events.out.tfevents.000001", "events.out.tfevents.000002"));
  auto steps = [&](const std::string& name) {
    std::vector<int64_t> found;
    const auto file = formats::ParseEvents(*base::ReadFile(events + "/" + name), name);
    for (const auto& record : file->records) {
      if (record.file_version.empty()) found.push_back(record.step);
    }
    return found;
  };
  EXPECT_THAT(steps("events.out.tfevents.000002"), ElementsAre(3, 4, 5));
  ASSERT_TRUE(TensorBoardSink::CutBack(events, StepId(3)).ok());
  EXPECT_THAT(steps("events.out.tfevents.000001"), ElementsAre(0, 1, 2));
  EXPECT_THAT(steps("events.out.tfevents.000002"), ElementsAre(3));
}

struct RecordingSink : base::MetricSink {
  explicit RecordingSink(int* calls, Status answer) : calls(calls), answer(std::move(answer)) {}
  Status Write(StepId, const base::MetricRow&, const std::string&) override { return ++*calls, answer; }
  Status Flush() override { return ++*calls, answer; }
  int* calls;
  Status answer;
};

TEST(FanOutSink, ReachesEverySinkAndReturnsTheFirstError) {
  int calls = 0;
  FanOutSink sink;
  sink.Add(std::make_unique<RecordingSink>(&calls, OkStatus()));
  sink.Add(std::make_unique<RecordingSink>(&calls, ResourceError("first")));
  sink.Add(std::make_unique<RecordingSink>(&calls, InternalError("second")));
  EXPECT_EQ(sink.Write(StepId(1), {}, ""), ResourceError("first"));
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(sink.Flush(), ResourceError("first"));
  EXPECT_EQ(calls, 6);
}

}  // namespace
}  // namespace volery::observe
