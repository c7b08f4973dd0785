#include "core/orchestration/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/files.h"
#include "core/orchestration/rollout_writer.h"
#include "core/orchestration/run_folder.h"

namespace volery::orchestration {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Status Fill(const std::string& folder) {
  VOLERY_RETURN_IF_ERROR(base::MakeFolders(folder + "/trainer"));
  VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(folder + "/trainer/state", "adam"));
  return base::WriteFileAtomic(folder + "/model", "weights");
}

TEST(CheckpointStore, KeepsTheNewest) {
  base::TemporaryFolder folder;
  CheckpointStore store(folder.path(), 2);
  for (int64_t step : {5, 10, 100}) ASSERT_TRUE(store.Save(StepId(step), Fill).ok());
  EXPECT_THAT(*base::ListFolder(folder.path()), ElementsAre("step_10", "step_100"));
  const auto newest = store.Newest();
  ASSERT_TRUE(newest.ok() && newest->has_value());
  EXPECT_EQ((*newest)->step, StepId(100));
  EXPECT_TRUE(VerifyCheckpoint((*newest)->path).ok());
}

TEST(CheckpointStore, ADamagedOneIsLeftOut) {
  base::TemporaryFolder folder;
  CheckpointStore store(folder.path(), 9);
  for (int64_t step : {1, 2, 3, 4}) ASSERT_TRUE(store.Save(StepId(step), Fill).ok());
  ASSERT_TRUE(base::WriteFileAtomic(store.PathOf(StepId(4)) + "/model", "weighty").ok());  // same size
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(3)) + "/trainer/state").ok());
  EXPECT_EQ((*store.Newest())->step, StepId(2));
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(2)) + "/complete").ok());
  EXPECT_EQ((*store.Newest())->step, StepId(1));
  EXPECT_THAT(Message(VerifyCheckpoint(store.PathOf(StepId(4)))),
              HasSubstr("model differs from what was saved"));
  EXPECT_THAT(Message(VerifyCheckpoint(store.PathOf(StepId(3)))), HasSubstr("state is missing"));
  ASSERT_TRUE(base::WriteFileAtomic(store.PathOf(StepId(1)) + "/complete", "{").ok());
  EXPECT_FALSE((*store.Newest()).has_value());
}

TEST(CheckpointStore, AModelCardMayBeEdited) {
  base::TemporaryFolder folder;
  CheckpointStore store(folder.path(), 2);
  ASSERT_TRUE(store
                  .Save(StepId(1),
                        [](const std::string& path) -> Status {
                          VOLERY_RETURN_IF_ERROR(base::WriteFileAtomic(path + "/README.md", "a card"));
                          return Fill(path);
                        })
                  .ok());
  ASSERT_TRUE(base::WriteFileAtomic(store.PathOf(StepId(1)) + "/README.md", "a better one").ok());
  EXPECT_TRUE(VerifyCheckpoint(store.PathOf(StepId(1))).ok());
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(1)) + "/README.md").ok());
  EXPECT_EQ((*store.Newest())->step, StepId(1));
  // Only the folder's own card is people's: one of the trainer's files isn't.
  ASSERT_TRUE(base::WriteFileAtomic(store.PathOf(StepId(1)) + "/trainer/state", "mada").ok());
  EXPECT_FALSE((*store.Newest()).has_value());
}

TEST(CheckpointStore, AFailedSaveLeavesNothingBehind) {
  base::TemporaryFolder folder;
  CheckpointStore store(folder.path(), 2);
  ASSERT_TRUE(store.Save(StepId(1), Fill).ok());
  const Status status = store.Save(StepId(2), [](const std::string& path) -> Status {
    VOLERY_RETURN_IF_ERROR(Fill(path));
    return ResourceError(path, ": No space left on device");
  });
  EXPECT_THAT(Message(status), HasSubstr("free disk space"));
  EXPECT_THAT(*base::ListFolder(folder.path()), ElementsAre("step_1"));
}

TEST(CheckpointStore, UnfinishedFoldersAreRemovedAndLaterOnesPutAside) {
  base::TemporaryFolder folder;
  CheckpointStore store(folder.path(), 9);
  for (int64_t step : {1, 2, 3}) ASSERT_TRUE(store.Save(StepId(step), Fill).ok());
  ASSERT_TRUE(base::MakeFolders(folder.path() + "/step_4.tmp").ok());
  ASSERT_TRUE(store.RemoveAfter(StepId(2)).ok());
  EXPECT_THAT(*base::ListFolder(folder.path()), ElementsAre("step_1", "step_2", "step_3.damaged"));
}

TEST(LoopState, ThereAndBack) {
  LoopState state;
  state.step = StepId(7);
  state.warmup_steps = 12;
  state.warmup_done = true;
  state.warmup_loss = 0.25;
  state.warmup_success = 0.3;
  state.skipped = 3;
  state.solved_in_a_row = 2;
  state.seed = ~uint64_t{0};
  state.first_eval = 0.1;
  const auto back = LoopState::FromJson(state.ToJson(), "loop.json");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->ToJson(), state.ToJson());
  EXPECT_EQ(back->seed, state.seed);
  EXPECT_EQ(back->first_eval, state.first_eval);
  EXPECT_THAT(Message(LoopState::FromJson("{\"step\": 1}", "loop.json").status()),
              HasSubstr("loop.json is damaged"));
}

RunFolderOptions Options(const base::TemporaryFolder& folder, bool resume) {
  return {.runs = folder.path(), .name = "quick", .resume = resume, .command = "volery run quick.toml"};
}

TEST(RunFolder, AnExistingRunIsRefusedWithBothWaysOn) {
  base::TemporaryFolder folder;
  { ASSERT_TRUE(RunFolder::Open(Options(folder, false)).ok()); }
  ASSERT_TRUE(base::MakeFolders(folder.path() + "/quick-2").ok());
  const Status status = RunFolder::Open(Options(folder, false)).status();
  EXPECT_TRUE(IsInputError(status));
  EXPECT_THAT(Message(status), HasSubstr("volery run quick.toml name=quick --resume"));
  EXPECT_THAT(Message(status), HasSubstr("volery run quick.toml name=quick-3"));
  EXPECT_TRUE(RunFolder::Open(Options(folder, true)).ok());
}

TEST(RunFolder, NothingToResume) {
  base::TemporaryFolder folder;
  EXPECT_EQ(RunFolder::Open(Options(folder, true)).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(base::Exists(folder.path() + "/quick"));
}

TEST(RunFolder, OneProcessAtATime) {
  base::TemporaryFolder folder;
  auto first = RunFolder::Open(Options(folder, false));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(Message(RunFolder::Open(Options(folder, true)).status()),
              HasSubstr("in use by another process (id "));
  first = NotFoundError("gone");
  EXPECT_TRUE(RunFolder::Open(Options(folder, true)).ok());
}

TEST(RunFolder, ANameIsOneFolder) {
  base::TemporaryFolder folder;
  for (const char* name : {"", "..", "a/b"}) {
    RunFolderOptions options = Options(folder, false);
    options.name = name;
    EXPECT_EQ(RunFolder::Open(options).status().code(), StatusCode::kInvalidArgument) << name;
  }
}

TEST(RunFolder, AResumeCutsBackWhatLiesBehindTheCheckpoint) {
  base::TemporaryFolder folder;
  const auto run = RunFolder::Open(Options(folder, false));
  ASSERT_TRUE(run.ok()) << run.status();
  CheckpointStore store(run->checkpoints(), 5);
  for (int64_t step : {2, 4}) ASSERT_TRUE(store.Save(StepId(step), Fill).ok());
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(4)) + "/model").ok());
  for (int64_t step = 0; step < 5; ++step) {
    ASSERT_TRUE(base::WriteFileAtomic(RolloutPath(run->rollouts(), StepId(step)), "x").ok());
    ASSERT_TRUE(base::WriteFileAtomic(RewardPath(run->rollouts(), StepId(step)), "x").ok());
  }
  const auto checkpoint = run->PrepareResume();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->step, StepId(2));
  EXPECT_THAT(*base::ListFolder(run->checkpoints()), ElementsAre("step_2", "step_4.damaged"));
  EXPECT_EQ(base::ListFolder(run->rollouts())->size(), 4u);
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(2))).ok());
  EXPECT_FALSE(run->PrepareResume()->has_value());
  EXPECT_TRUE(base::ListFolder(run->rollouts())->empty());
}

TEST(RunFolder, AResumeWithoutAGoodCheckpointChangesNothing) {
  base::TemporaryFolder folder;
  const auto run = RunFolder::Open(Options(folder, false));
  ASSERT_TRUE(run.ok()) << run.status();
  CheckpointStore store(run->checkpoints(), 5);
  ASSERT_TRUE(store.Save(StepId(2), Fill).ok());
  ASSERT_TRUE(base::RemoveAll(store.PathOf(StepId(2)) + "/model").ok());
  ASSERT_TRUE(base::WriteFileAtomic(RolloutPath(run->rollouts(), StepId(1)), "x").ok());
  EXPECT_THAT(Message(run->PrepareResume().status()), HasSubstr("nothing was changed"));
  EXPECT_THAT(*base::ListFolder(run->checkpoints()), ElementsAre("step_2"));
  EXPECT_EQ(base::ListFolder(run->rollouts())->size(), 1u);
}

}  // namespace
}  // namespace volery::orchestration
