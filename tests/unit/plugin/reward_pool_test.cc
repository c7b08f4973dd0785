#include "core/plugin/reward_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <thread>

#include "core/base/random.h"
#include "core/plugin/plugin_host.h"

namespace volery::plugin {
namespace {

using data::RewardStatus;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::shared_ptr<RewardPlugin> Load(const std::string& name, const RewardSettings& settings = {},
                                   const nlohmann::json& options = {}) {
  auto reward =
      PluginHost().LoadReward(Cat(VOLERY_BINARY_DIR "/tests/plugins/", name, ".so"), options, settings);
  EXPECT_TRUE(reward.ok()) << reward.status();
  return *reward;
}

RewardSample Says(const std::string& completion) {
  RewardSample sample;
  sample.completion = completion;
  return sample;
}

std::vector<RewardSample> Say(const std::vector<std::string>& completions) {
  std::vector<RewardSample> out;
  for (const std::string& completion : completions) out.push_back(Says(completion));
  return out;
}

std::vector<RewardResult> Score(RewardPool& pool, const std::shared_ptr<RewardPlugin>& plugin,
                                std::vector<RewardSample> samples, int64_t timeout_ms = 20'000) {
  RewardPool::Results results = pool.Score({plugin, std::move(samples), timeout_ms});
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? *results : std::vector<RewardResult>();
}

// Both places where a reward can run.
class RewardRuns : public ::testing::TestWithParam<bool> {
 protected:
  std::shared_ptr<RewardPlugin> plugin_ =
      Load("fixture_behaviours", {.seed = 9, .isolate = GetParam()}, {{"scale", 2}});
  RewardPool pool_{{.threads = 3}, base::StopToken()};
};
INSTANTIATE_TEST_SUITE_P(Place, RewardRuns, ::testing::Bool(),
                         [](const auto& place) { return place.param ? "Child" : "Here"; });

TEST_P(RewardRuns, ResultsComeInSampleOrder) {
  std::vector<RewardSample> samples;
  for (int i = 0; i < 60; ++i) samples.push_back(Says(std::string(i % 7, ' ') + std::to_string(i)));
  const auto results = Score(pool_, plugin_, samples);
  ASSERT_EQ(results.size(), 60u);
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(results[i].status, RewardStatus::kOk) << results[i].message;
    EXPECT_EQ(results[i].score, 2.0 * i);
    ASSERT_EQ(results[i].components.size(), 1u);
    EXPECT_EQ(results[i].components[0].name, "length");
    EXPECT_EQ(results[i].components[0].value, static_cast<double>(samples[i].completion.size()));
  }
  EXPECT_EQ(plugin_->TakeMetrics(), (base::MetricRow{{"seen", 1.0}}));
}

TEST_P(RewardRuns, AnExceptionIsTheSamplesErrorWithItsText) {
  const auto results =
      Score(pool_, plugin_, Say({"1", "throw", "throw an int", "not applicable", "nan", "2"}));
  EXPECT_EQ(results[0].score, 2);
  EXPECT_EQ(results[1].status, RewardStatus::kError);
  EXPECT_EQ(results[1].message, "thrown on purpose");
  EXPECT_EQ(results[2].status, RewardStatus::kError);
  EXPECT_THAT(results[2].message, HasSubstr("no std::exception"));
  EXPECT_EQ(results[3].status, RewardStatus::kNotApplicable);
  EXPECT_EQ(results[3].message, "not for me");
  EXPECT_EQ(results[4].status, RewardStatus::kError);
  EXPECT_THAT(results[4].message, HasSubstr("not finite"));
  EXPECT_EQ(results[5].score, 4);
}

TEST_P(RewardRuns, SeesColumnsTokensAndAnswer) {
  RewardSample column = Says("column"), tokens = Says("tokens"), greeting = Says("greeting");
  column.columns = std::make_shared<const nlohmann::json>(nlohmann::json{{"points", 21}, {"other", "x"}});
  tokens.spans = {{data::SpanOrigin::kPrompt, {1, 2}, {}, {}, {}},
                  {data::SpanOrigin::kSampled, {30, 400}, {-0.5f, -1.0f}, {}, {}}};
  greeting.answer = "hello";
  const auto results = Score(pool_, plugin_, {column, tokens, greeting, Says("column")});
  EXPECT_EQ(results[0].score, 42);
  EXPECT_EQ(results[1].score, 866);
  EXPECT_EQ(results[2].score, 1);
  EXPECT_EQ(results[3].status, RewardStatus::kError);
  EXPECT_THAT(results[3].message, HasSubstr("no column \"points\""));
}

TEST_P(RewardRuns, RandomWordsDependOnTheSeedOnly) {
  const double word = Score(pool_, plugin_, Say({"word"}))[0].score;
  EXPECT_EQ(Score(pool_, plugin_, Say({"word"}))[0].score, word);
  EXPECT_EQ(Score(pool_, Load("fixture_behaviours", {.seed = 9}), Say({"word"}))[0].score, word);
  EXPECT_NE(Score(pool_, Load("fixture_behaviours", {.seed = 10}), Say({"word"}))[0].score, word);
}

TEST_P(RewardRuns, ALimitIsATimeoutNotAScore) {
  const auto results = Score(pool_, plugin_, Say({"hang", "wait for cancel", "1"}), 300);
  EXPECT_EQ(results[0].status, RewardStatus::kTimeout);
  EXPECT_THAT(results[0].message, HasSubstr("no answer within 300 ms"));
  EXPECT_EQ(results[1].status, RewardStatus::kTimeout);
  EXPECT_EQ(results[1].message, "gave up when told");
  EXPECT_EQ(results[2].score, 2);
  EXPECT_EQ(pool_.abandoned(), GetParam() ? 0 : 1);
  EXPECT_EQ(Score(pool_, plugin_, Say({"5", "6", "7", "8"}))[3].score, 16);
}

TEST_P(RewardRuns, StopEndsWhatIsUnderWay) {
  base::StopToken stop;
  RewardPool pool({.threads = 1, .grace_ms = 50}, stop);
  std::future<RewardPool::Results> running = pool.Submit({plugin_, Say({"wait for cancel", "1"}), 60'000});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  stop.RequestStop(CancelledError("stopped by the test"));
  ASSERT_EQ(running.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_EQ(running.get().status(), CancelledError("stopped by the test"));
  EXPECT_EQ(pool.Score({plugin_, Say({"1"})}).status().code(), StatusCode::kCancelled);
}

TEST_P(RewardRuns, ClosingThePoolEndsWhatIsUnderWay) {
  std::future<RewardPool::Results> running;
  {
    RewardPool pool({.threads = 1, .grace_ms = 50}, base::StopToken());
    running = pool.Submit({plugin_, Say({"hang", "1"}), 60'000});
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(running.get().status().code(), StatusCode::kCancelled);
}

TEST(RewardPool, OneThatMayHangRunsInAChildByItself) {
  const auto plugin = Load("fixture_may_hang");
  EXPECT_TRUE(plugin->isolated());
  RewardPool pool({}, base::StopToken());
  const double child = Score(pool, plugin, Say({"pid"}))[0].score;
  EXPECT_NE(child, getpid());
  EXPECT_EQ(Score(pool, plugin, Say({"pid"}))[0].score, child) << "a child serves more than one call";
  EXPECT_EQ(Score(pool, Load("fixture_behaviours"), Say({"pid"}))[0].score, getpid());
}

TEST(RewardPool, ACrashIsTheSamplesErrorAndTheOthersGoOn) {
  const auto plugin = Load("fixture_behaviours", {.isolate = true});
  RewardPool pool({.threads = 2}, base::StopToken());
  const auto results = Score(pool, plugin, Say({"1", "abort", "2", "exit", "3"}));
  EXPECT_EQ(results[1].status, RewardStatus::kError);
  EXPECT_THAT(results[1].message, HasSubstr("killed by signal SIGABRT"));
  EXPECT_EQ(results[3].status, RewardStatus::kError);
  EXPECT_THAT(results[3].message, HasSubstr("exited with code 3"));
  for (int i : {0, 2, 4}) EXPECT_EQ(results[i].score, i / 2 + 1) << results[i].message;
}

TEST(RewardPool, CrashLoopsAreBounded) {
  const auto plugin = Load("fixture_behaviours", {.isolate = true});
  RewardPool pool({.threads = 1, .max_crashes_in_a_row = 3}, base::StopToken());
  EXPECT_EQ(Score(pool, plugin, Say({"abort", "abort", "1", "abort", "abort"}))[4].status,
            RewardStatus::kError);
  EXPECT_EQ(Score(pool, plugin, Say({"2"}))[0].score, 2);
  const Status status = pool.Score({plugin, Say({"abort", "abort", "abort", "1"})}).status();
  EXPECT_EQ(status.code(), StatusCode::kInternal);
  EXPECT_THAT(Message(status),
              AllOf(HasSubstr("fixture_behaviours.so"), HasSubstr("3 times in a row"), HasSubstr("SIGABRT")));
  EXPECT_EQ(pool.Score({plugin, Say({"1"})}).status(), status) << "a failed pool stays failed";
}

TEST(RewardPool, AbandonedThreadsAreBounded) {
  const auto plugin = Load("fixture_behaviours");
  RewardPool pool({.threads = 1, .grace_ms = 20, .max_abandoned = 1}, base::StopToken());
  EXPECT_EQ(Score(pool, plugin, Say({"hang"}), 50)[0].status, RewardStatus::kTimeout);
  EXPECT_EQ(Score(pool, plugin, Say({"4"}))[0].score, 4);
  const Status status = pool.Score({plugin, Say({"hang", "1"}), 50}).status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("fixture_behaviours.so"), HasSubstr("isolate = true")));
}

TEST(RewardPool, GroupsArriveWhole) {
  for (bool isolate : {false, true}) {
    const auto plugin = Load("fixture_group", {.isolate = isolate});
    EXPECT_TRUE(plugin->wants_group());
    RewardPool pool({.threads = 3}, base::StopToken());
    const auto results = Score(pool, plugin, Say({"a", "b", "a", "forget me", "a"}));
    EXPECT_EQ(results[0].score, 3);
    EXPECT_EQ(results[1].score, 1);
    EXPECT_EQ(results[4].score, 3);
    EXPECT_EQ(results[3].status, RewardStatus::kError);
    EXPECT_THAT(results[3].message, HasSubstr("set no result"));
  }
}

TEST(RewardPool, AnExceptionAcrossTheBoundaryIsReported) {
  RewardPool pool({}, base::StopToken());
  const auto results = Score(pool, Load("bad_throw"), Say({"x"}));
  EXPECT_EQ(results[0].status, RewardStatus::kError);
  EXPECT_THAT(results[0].message, AllOf(HasSubstr("broke the contract"), HasSubstr("across the boundary")));
}

TEST(RewardPool, RunsPlainC) {
  RewardPool pool({}, base::StopToken());
  EXPECT_EQ(Score(pool, Load("fixture_plain_c"), Say({"four"}))[0].score, 4);
  EXPECT_TRUE(Score(pool, Load("fixture_plain_c"), {}).empty());
}

TEST(RewardPool, AChildsPrintsGoToStandardErrorNotOutput) {
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  {
    RewardPool pool({}, base::StopToken());
    EXPECT_EQ(Score(pool, Load("fixture_behaviours", {.isolate = true}), Say({"print"}))[0].score, 1);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  ::testing::internal::GetCapturedStderr();
}

TEST(RewardPool, ManyRequestsAtOnce) {
  const auto plugin = Load("fixture_behaviours");
  RewardPool pool({.threads = 2, .max_queued = 4}, base::StopToken());
  std::vector<std::thread> callers;
  std::array<double, 4> sums{};
  for (size_t t = 0; t < sums.size(); ++t) {
    callers.emplace_back([&, t] {
      for (const RewardResult& result : Score(pool, plugin, Say({"1", "2", "3", "4"})))
        sums[t] += result.score;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_THAT(sums, ::testing::Each(10.0));
}

}  // namespace
}  // namespace volery::plugin
