#include "core/orchestration/engine_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"

namespace volery::orchestration {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

data::GroupSpec Spec(GroupId id, int32_t samples = 2) {
  data::GroupSpec spec;
  spec.id = id;
  spec.task = *FakeTasks(20).Get(id.index());
  spec.samples = samples;
  spec.params.max_new_tokens = 6;
  return spec;
}

data::WeightVersionPtr Version(int64_t id) {
  return std::make_shared<FakeVersion>(VersionId(id), 0.1 * static_cast<double>(id));
}

TEST(EngineSource, FinishesGroupsWithDecodedText) {
  FakeEngine engine;
  base::StopToken stop;
  EngineSourceOptions options;
  options.decode = [](const std::vector<int32_t>& tokens, data::StopReason stop) -> StatusOr<std::string> {
    return Cat(tokens.size(), " tokens, ", data::StopReasonName(stop));
  };
  EngineSource source(engine, options, stop);
  ASSERT_TRUE(source.Publish(Version(0)).ok());
  ASSERT_TRUE(source.Admit({Spec(GroupId::Make(0, 0, 0)), Spec(GroupId::Make(0, 0, 1), 3)}).ok());
  std::map<GroupId, data::Group> groups;
  for (int i = 0; i < 2; ++i) {
    auto group = source.Next(-1);
    ASSERT_TRUE(group.ok()) << group.status();
    groups.emplace(group->id, *std::move(group));
  }
  const data::Group& group = groups.at(GroupId::Make(0, 0, 1));
  ASSERT_EQ(group.rollouts.size(), 3u);
  for (int32_t i = 0; i < 3; ++i) {
    const data::Rollout& rollout = group.rollouts[static_cast<size_t>(i)];
    EXPECT_EQ(rollout.sample, i);
    EXPECT_EQ(rollout.completion,
              Cat(rollout.SampledLength(), " tokens, ", data::StopReasonName(rollout.stop)));
  }
  const auto metrics = source.TakeMetrics();
  EXPECT_GT(metrics.at("sampler/tokens"), 0);
  EXPECT_GE(metrics.at("sampler/sequences"), 1);
  EXPECT_LE(metrics.at("sampler/sequences"), 4);
}

TEST(EngineSource, LetsGoOfAVersionToRest) {
  for (bool release : {false, true}) {
    FakeEngine engine;
    base::StopToken stop;
    {
      EngineSource source(engine, {}, stop);
      for (int64_t version = 0; version < 3; ++version) {
        ASSERT_TRUE(source.Publish(Version(version)).ok());
        ASSERT_TRUE(source.Admit({Spec(GroupId::Make(version, 0, 0))}).ok());
        const auto group = source.Next(-1);
        ASSERT_TRUE(group.ok()) << group.status();
        EXPECT_EQ(group->rollouts[0].spans[1].versions[0].version, VersionId(version));
        if (release) source.Rest();
      }
    }
    EXPECT_EQ(engine.released, release ? 3 : 0);
  }
}

TEST(EngineSource, AGroupWaitsForTheVersionPublishedBeforeIt) {
  FakeEngine engine;
  base::StopToken stop;
  EngineSource source(engine, {}, stop);
  ASSERT_TRUE(source.Admit({Spec(GroupId::Make(0, 0, 0))}).ok());
  EXPECT_EQ(source.Next(1).status().code(), StatusCode::kDeadlineExceeded);  // no weights yet
  ASSERT_TRUE(source.Publish(Version(0)).ok());
  EXPECT_EQ(source.Next(-1)->rollouts[0].OldestVersion(), VersionId(0));
  for (int64_t version = 1; version <= 20; ++version) {
    ASSERT_TRUE(source.Publish(Version(version)).ok());
    ASSERT_TRUE(source.Admit({Spec(GroupId::Make(version, 0, 0))}).ok());
    EXPECT_EQ(source.Next(-1)->rollouts[0].OldestVersion(), VersionId(version));
  }
}

TEST(EngineSource, EarlierStepsGoFirst) {
  FakeEngine engine(2);
  base::StopToken stop;
  {
    EngineSourceOptions options;
    options.max_sequences = 2;
    EngineSource source(engine, options, stop);
    ASSERT_TRUE(
        source
            .Admit({Spec(GroupId::Make(3, 0, 0)), Spec(GroupId::Make(2, 1, 0)), Spec(GroupId::Make(2, 0, 1))})
            .ok());
    ASSERT_TRUE(source.Publish(Version(2)).ok());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(source.Next(-1).ok());
  }
  EXPECT_THAT(engine.submitted,
              ElementsAre(GroupId::Make(2, 0, 1), GroupId::Make(2, 1, 0), GroupId::Make(3, 0, 0)));
}

TEST(EngineSource, MeasuresIdlenessAndWaitingForWeights) {
  base::FakeClock clock;
  FakeEngine engine;
  base::StopToken stop;
  EngineSourceOptions options;
  options.clock = &clock;
  EngineSource source(engine, options, stop);
  clock.AdvanceMs(1000);
  auto row = source.TakeMetrics();
  EXPECT_EQ(row.at("sampler/idle"), 1.0);
  EXPECT_EQ(row.at("time/wait_for_weights"), 0.0);
}

TEST(EngineSource, ARequestTheEngineRefusesNamesTheTask) {
  FakeEngine engine;
  base::StopToken stop;
  EngineSource source(engine, {}, stop);
  data::GroupSpec spec = Spec(GroupId::Make(4, 0, 2));
  auto task = std::make_shared<data::Task>(*spec.task);
  task->prompt.assign(200, 1);
  spec.task = task;
  ASSERT_TRUE(source.Publish(Version(4)).ok());
  ASSERT_TRUE(source.Admit({spec}).ok());
  EXPECT_THAT(Message(source.Next(-1).status()),
              HasSubstr("step 4, task 2: the prompt is longer than the context"));
}

TEST(EngineSource, AGroupIsAdmittedOnce) {
  FakeEngine engine;
  base::StopToken stop;
  EngineSource source(engine, {}, stop);
  ASSERT_TRUE(source.Admit({Spec(GroupId::Make(0, 0, 0))}).ok());
  EXPECT_THAT(Message(source.Admit({Spec(GroupId::Make(0, 0, 0))})), HasSubstr("admitted twice"));
}

TEST(EngineSource, AStopWakesWhoeverWaits) {
  FakeEngine engine;
  base::StopToken stop;
  EngineSource source(engine, {}, stop);
  std::thread stopper([&] { stop.RequestStop(CancelledError("enough")); });
  EXPECT_EQ(Message(source.Next(-1).status()), "enough");
  stopper.join();
  EXPECT_FALSE(source.Publish(Version(0)).ok());
}

}  // namespace
}  // namespace volery::orchestration
